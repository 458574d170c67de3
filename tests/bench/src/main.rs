//! What `make bench` measures with. Every figure comes from this run on this machine; nothing is asserted.
//!
//! Run as root by `tests/bench/run.sh`. Each part cleans up after itself; one that fails leaves a line saying why, and the
//! others go on.

mod cluster;
mod control_plane;
mod custom;
mod idle;
mod load;
mod pods;
mod policies;
mod scale;
mod scheduling;
mod stats;
mod swap;
mod table;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use table::Table;

/// The one that berth has: some parts run its control plane in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where the parts find what they need.
#[derive(Parser)]
struct Options {
    /// The berth program to measure
    #[arg(long, env = "BERTH")]
    berth: PathBuf,
    /// The directory with the test images
    #[arg(long, env = "IMAGES")]
    images: PathBuf,
    /// The script that times a bare container runtime
    #[arg(long)]
    bare: PathBuf,
    /// A directory with pod lists of the openb trace; a generated list takes its place when it is absent
    #[arg(long)]
    openb: Option<PathBuf>,
    /// A directory for clusters, on the disk whose speed counts
    #[arg(long)]
    work: PathBuf,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

/// A group of figures measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Start,
    Idle,
    Pods,
    Scheduler,
    Bindings,
    Swap,
    Writes,
    Custom,
    Watch,
    Lists,
    Watchers,
    Large,
}

impl Part {
    async fn measure(self, options: &Options, table: &mut Table) -> anyhow::Result<()> {
        match self {
            Self::Start => idle::cold_starts(options, table).await,
            Self::Idle => idle::idle(options, table).await,
            Self::Pods => pods::to_running(options, table).await,
            Self::Scheduler => scheduling::decisions(options, table).await,
            Self::Bindings => scheduling::bindings(options, table).await,
            Self::Swap => swap::gaps(options, table).await,
            Self::Writes => writes::creates(options, table).await,
            Self::Custom => custom::creates(options, table).await,
            Self::Watch => writes::fan_out(options, table).await,
            Self::Lists => scale::beside_lists(options, table).await,
            Self::Watchers => scale::beside_watchers(options, table).await,
            Self::Large => scale::large(options, table).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut table = Table::default();
    let mut code = ExitCode::SUCCESS;
    for part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(part) {
            continue;
        }
        eprintln!("bench: {part:?} …");
        if let Err(error) = part.measure(&options, &mut table).await {
            table.failed(&format!("{part:?}"), &error);
            code = ExitCode::FAILURE;
        }
    }
    print!("{table}");
    code
}
