//! Where berth's own log goes: standard error, filtered by `BERTH_LOG`.

use tracing_subscriber::EnvFilter;

/// Starts logging; `BERTH_LOG=debug`, or `berth_drive=debug,warn`, says more.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
