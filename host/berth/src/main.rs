//! The berth binary: flags, wiring, shutdown, the command line.

mod cli;
mod cluster_id;
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
    // A shim is this program once more; it must be single-threaded, so this comes before anything else.
    berth_runtime::shim_main_if_asked();
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth: {error:#}");
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
