//! `/healthz`, `/livez`, `/readyz`.

use berth_client::Body;
use http::Response;
use tokio::sync::watch;

use crate::query::Query;
use crate::respond::text;

/// The checks of every probe; `shutdown` fails only `readyz`.
const CHECKS: [&str; 2] = ["ping", "shutdown"];

/// Whether the server should be sent requests.
#[derive(Debug, Default)]
pub(crate) struct Health {
    stopping: watch::Sender<bool>,
}

impl Health {
    pub(crate) fn set_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Follows whether the server is stopping, for what would otherwise go on for ever.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Answers a probe, or one of its checks.
    pub(crate) fn answer(&self, probe: &str, check: &str, query: &Query) -> Response<Body> {
        let excluded = |name: &str| query.all("exclude").any(|excluded| excluded == name);
        let fails = |name: &str| name == "shutdown" && probe == "readyz" && *self.stopping.borrow();
        if !check.is_empty() {
            return match CHECKS.iter().find(|name| **name == check) {
                None => text(404, "404 page not found\n"),
                Some(name) if fails(name) => text(500, format!("internal server error: {name} failed\n")),
                Some(_) => text(200, "ok"),
            };
        }
        let failed = CHECKS.iter().any(|name| !excluded(name) && fails(name));
        if !failed && !query.flag("verbose") {
            return text(200, "ok");
        }
        let mut lines = String::new();
        for name in CHECKS {
            lines.push_str(&match (excluded(name), fails(name)) {
                (true, _) => format!("[+]{name} excluded: ok\n"),
                (false, false) => format!("[+]{name} ok\n"),
                (false, true) => format!("[-]{name} failed: reason withheld\n"),
            });
        }
        let verdict = if failed { "failed" } else { "passed" };
        lines.push_str(&format!("{probe} check {verdict}\n"));
        text(if failed { 500 } else { 200 }, lines)
    }
}
