//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use berth_agent::{AgentConfig, SysctlPattern};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Containers and Kubernetes from one binary, with policies in WebAssembly.
#[derive(Parser)]
#[command(name = "berth", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  berth up                                              start a one-node cluster in the foreground
  kubectl --kubeconfig /var/lib/berth/kubeconfig get nodes
  berth load -i my-app.tar                              import an image that `docker save` wrote
  berth plugin install my-policy.wasm                   add a scheduling policy
  berth plugin swap my-policy                           let it place pods from now on
  berth down                                            remove every container, network and mount again";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the cluster's server and this node's agent, in the foreground
    #[command(after_help = UP_EXAMPLES)]
    Up(UpOptions),
    /// Remove every container, mount, cgroup, network namespace, link and rule of a cluster; its data stays
    Down(DataDir),
    /// Import images from a docker or OCI archive
    Load(LoadOptions),
    /// List the images this node has
    Images(DataDir),
    /// Install, list, swap and remove policies
    #[command(after_help = PLUGIN_EXAMPLES)]
    Plugin(PluginOptions),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

const UP_EXAMPLES: &str = "\
Examples:
  berth up
  berth up --data-dir /srv/second --listen 127.0.0.1:7443 --pod-cidr 10.43.0.0/16 --service-cidr 10.97.0.0/16
  berth up --no-agent --simulate-nodes 1000             a cluster to try policies on";

const PLUGIN_EXAMPLES: &str = "\
Examples:
  berth plugin install target/my-policy.wasm            named after the file, or with --name
  berth plugin ls
  berth plugin inspect target/my-policy.wasm            what it is, wants and costs
  berth plugin swap my-policy --profile default-scheduler --config '{\"weight\": 3}'
  berth plugin swap image-policy --config '{\"allowedRegistries\": [\"registry.example\"]}' --failure-policy Fail
  berth plugin rollback default-scheduler
  berth plugin unbind image-policy
  berth plugin rm my-policy";

/// Which cluster a command is about.
#[derive(Args, Clone)]
pub(crate) struct DataDir {
    /// Where the cluster keeps everything
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/berth", env = "BERTH_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Where the API server listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) listen: SocketAddr,
    /// Where objects are stored [default: sqlite:<data-dir>/berth.db]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The range of this node's pods
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pub(crate) pod_cidr: String,
    /// The range of the Services' cluster IPs
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub(crate) service_cidr: String,
    /// The name of this node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Run no containers on this machine
    #[arg(long)]
    pub(crate) no_agent: bool,
    /// Kernel parameters that pods may set besides the safe ones: names, or beginnings with a * after them
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    pub(crate) allowed_unsafe_sysctls: Vec<SysctlPattern>,
    /// Processes and threads that a pod may have at a time; -1 for no limit
    #[arg(long, value_name = "N", default_value_t = AgentConfig::POD_PIDS_MAX as i64, allow_negative_numbers = true, value_parser = pids)]
    pub(crate) pod_max_pids: i64,
    /// Add nodes that exist only in the API and report every pod as running
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=SIMULATED_MAX))]
    pub(crate) simulate_nodes: u32,
}

fn pids(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(number @ (-1 | 1..)) => Ok(number),
        _ => Err("it is a number of processes, or -1 for no limit".to_owned()),
    }
}

/// Simulated nodes at most: Kubernetes' own limit is 5,000 nodes; a researcher may want some more.
const SIMULATED_MAX: i64 = 20_000;

#[derive(Args)]
pub(crate) struct LoadOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// The archive, as `docker save` or `skopeo copy … oci-archive:` writes it; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: PathBuf,
}

#[derive(Args)]
pub(crate) struct PluginOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
}

#[derive(Subcommand)]
pub(crate) enum PluginCommand {
    /// Upload a component as a plugin, or a new version of one
    Install {
        /// The component (`.wasm`)
        file: PathBuf,
        /// The plugin's name [default: the file's]
        #[arg(long)]
        name: Option<String>,
    },
    /// List plugins and where they decide
    Ls,
    /// Say what a component is, wants and costs: of a file, or of an installed plugin
    Inspect {
        /// A file (`.wasm`), for which no cluster is needed, or the name of a plugin
        what: String,
    },
    /// Let a plugin decide from now on
    Swap(SwapOptions),
    /// Go back to the version that served before, with its configuration
    Rollback {
        /// The profile, or the binding of an admission policy
        #[arg(default_value = "default-scheduler")]
        place: String,
    },
    /// Take away a place's plugin: the built-in scheduling takes over, an admission policy is asked no more
    Unbind {
        /// The profile, or the binding of an admission policy
        place: String,
    },
    /// Remove a plugin that decides nowhere
    Rm {
        /// The plugin
        plugin: String,
    },
}

#[derive(Args)]
pub(crate) struct SwapOptions {
    /// The plugin
    pub(crate) plugin: String,
    /// Where: a scheduling policy's profile (a pod's `spec.schedulerName`), an autoscaling policy's profile, an admission
    /// policy's binding [default: `default-scheduler`, `default`, the plugin's name]
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// Configuration for the plugin, as JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<String>,
    /// What happens when the policy fails: LastGood, Fail, Default, or Ignore (of admission policies)
    #[arg(long, value_name = "POLICY")]
    pub(crate) failure_policy: Option<String>,
    /// Of an admission policy: those with smaller numbers are asked first
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) order: Option<i32>,
}

/// Prints a completion script to standard output.
pub(crate) fn completion(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "berth", &mut std::io::stdout());
}
