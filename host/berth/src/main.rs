//! The berth binary: flags, wiring, shutdown, the command line.

mod bond;
mod cli;
mod cluster_id;
mod compiler;
mod data_dir;
mod down;
mod images;
mod logging;
mod plugin;
mod up;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// A server makes and drops small objects on all cores at once, for months: an allocator made for that does it with less
/// time than the C library's, and gives memory back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // A shim and a compiler are this program once more; a shim must be single-threaded, so this comes before anything else.
    berth_runtime::shim_main_if_asked();
    berth_policy::compile_main_if_asked();
    // Keys and secrets are in its memory: a container that sees the machine's processes must not look at it, nor at a
    // picture of it after a crash.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("berth: it cannot be hidden from other processes: {error}");
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(options) => up::run(options),
        Command::Down(options) => down::run(&options),
        Command::Load(options) => images::load(&options),
        Command::Images(options) => images::list(&options),
        Command::Plugin(options) => plugin::run(options),
        Command::Completion { shell } => {
            cli::completion(shell);
            Ok(())
        }
    }
}

/// An error and its causes as one sentence. Many errors of libraries name their cause themselves; it is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = || anyhow!("no such file");
        for (error, expected) in [
            (cause(), "no such file"),
            (cause().context("reading"), "reading: no such file"),
            (cause().context("reading: no such file").context("starting"), "starting: reading: no such file"),
            (cause().context("no such file: x"), "no such file: x: no such file"),
        ] {
            assert_eq!(sentence(&error), expected);
        }
    }

    #[test]
    fn the_help_says_what_berth_is() {
        Cli::command().debug_assert();
        let help = Cli::command().render_help().to_string();
        assert!(help.starts_with("Containers and Kubernetes from one binary"), "{help}");
    }
}
