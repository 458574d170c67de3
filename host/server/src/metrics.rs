//! `/metrics`: counters in the Prometheus text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use berth_client::Body;
use berth_cluster::Cluster;
use http::{Method, Response};

use crate::respond::answer;

/// Upper bounds of the duration histogram in seconds; a long-running request (watch, log) counts until its head.
const BUCKETS_SECONDS: [f64; 8] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5.0];

/// What a server counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    durations: Mutex<Histogram>,
    watches: AtomicI64,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS_SECONDS.len()],
    count: u64,
    sum_seconds: f64,
}

impl Metrics {
    /// Counts a request that was answered (its head, for a stream).
    pub(crate) fn request(&self, method: &Method, code: u16, took: Duration) {
        let method = known(method);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, code)).or_default() += 1;
        drop(requests);
        let seconds = took.as_secs_f64();
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.count += 1;
        durations.sum_seconds += seconds;
        for (bucket, bound) in durations.buckets.iter_mut().zip(BUCKETS_SECONDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// One watch more (1) or less (-1).
    pub(crate) fn watch(&self, change: i64) {
        self.watches.fetch_add(change, Ordering::Relaxed);
    }

    /// `more` is what others count.
    pub(crate) fn answer(&self, cluster: &Cluster, more: &str) -> Response<Body> {
        let (revision, objects) = cluster.read(|state| (state.revision(), state.len()));
        let mut out = String::new();
        head(&mut out, "apiserver_request_total", "counter", "Requests answered, by method and code.");
        for ((method, code), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            line(&mut out, &format!("apiserver_request_total{{verb=\"{method}\",code=\"{code}\"}}"), count);
        }
        self.write_durations(&mut out);
        head(&mut out, "apiserver_longrunning_requests", "gauge", "Watches that are open.");
        line(
            &mut out,
            "apiserver_longrunning_requests{verb=\"WATCH\"}",
            self.watches.load(Ordering::Relaxed),
        );
        head(&mut out, "berth_objects", "gauge", "Objects in the cluster.");
        line(&mut out, "berth_objects", objects);
        head(&mut out, "berth_revision", "counter", "The revision of the last write.");
        line(&mut out, "berth_revision", revision);
        out.push_str(more);
        answer(200, "text/plain; version=0.0.4; charset=utf-8", out)
    }

    fn write_durations(&self, out: &mut String) {
        const NAME: &str = "apiserver_request_duration_seconds";
        head(out, NAME, "histogram", "Time from a request's head to its answer's.");
        let durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        for (count, bound) in durations.buckets.iter().zip(BUCKETS_SECONDS) {
            line(out, &format!("{NAME}_bucket{{le=\"{bound}\"}}"), count);
        }
        line(out, &format!("{NAME}_bucket{{le=\"+Inf\"}}"), durations.count);
        line(out, &format!("{NAME}_sum"), durations.sum_seconds);
        line(out, &format!("{NAME}_count"), durations.count);
    }
}

/// The methods that are counted by name, so that a client cannot make labels up.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name} {value}");
}
