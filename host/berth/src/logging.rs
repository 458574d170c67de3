//! Where berth's own log goes: standard error, filtered by `BERTH_LOG`.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Starts logging; `BERTH_LOG=debug`, or `berth_loops=debug,warn`, says more. Coloured only for a terminal, and not where
/// `NO_COLOR` is set: a file or the journal is searched, and escape sequences would be in the way.
pub(crate) fn start() -> anyhow::Result<()> {
    let filter = filter(std::env::var("BERTH_LOG").ok().as_deref())?;
    let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(wants_colour && std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

fn filter(asked: Option<&str>) -> anyhow::Result<EnvFilter> {
    let text = asked.filter(|text| !text.is_empty()).unwrap_or("info,sqlx=warn");
    EnvFilter::try_new(text)
        .with_context(|| format!("BERTH_LOG=\"{text}\" is no filter such as info or debug"))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn filters() {
        let text = |asked| filter(asked).map(|filter| filter.to_string()).map_err(|error| error.to_string());
        assert_eq!(text(Some("")), text(None));
        assert_eq!(text(Some("debug")).unwrap(), "debug");
        assert!(text(Some("a=b=c")).unwrap_err().starts_with("BERTH_LOG=\"a=b=c\" is no filter"));
    }
}
