//! Where berth's own log goes: standard error, filtered by `BERTH_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; `BERTH_LOG=debug`, or `berth_drive=debug,warn`, says more. Coloured only for a terminal, and not where
/// `NO_COLOR` is set: a file or the journal is searched, and escape sequences would be in the way.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(wants_colour && std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
