//! A cluster of a test's own.

use crate::{Background, Output, eventually, kubectl, program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// For one command. Far more than any of them takes on an idle machine: two cores run several tests at once.
const COMMAND_DEADLINE: Duration = Duration::from_secs(90);
/// For a script that may compile a package.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(600);
/// For `berth up` to answer.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// For `berth up` to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of berth's own log that a failing test shows.
const LOG_SHOWN_BYTES: usize = 6000;
/// Where Linux' default range of ports for `bind` with port 0 begins.
const EPHEMERAL_FIRST: u16 = 32_768;

/// Whether pods become containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// On this machine, which needs root.
    Real,
    /// Only on simulated nodes.
    None,
}

/// What cluster a test wants.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether pods become containers.
    pub agent: Agent,
    /// Nodes that exist only in the API.
    pub simulated_nodes: u32,
}

impl Options {
    /// Nodes that exist only in the API, and no containers.
    pub fn simulated(nodes: u32) -> Self {
        Self { agent: Agent::None, simulated_nodes: nodes }
    }
}

/// A running `berth up` with its own data directory, port and pod range; taken down when dropped.
pub struct Berth {
    root: TempDir,
    port: u16,
    options: Options,
    process: Option<Child>,
}

impl Berth {
    /// Starts a cluster and waits until it is ready.
    pub fn start(options: Options) -> Self {
        let root = tempfile::Builder::new().prefix("berth-test-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut berth = Self { root, port, options, process: None };
        berth.up();
        berth
    }

    /// Starts `berth up` on this cluster again, after [`Berth::kill_9`] or [`Berth::stop`].
    pub fn up(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// Starts `berth up` without waiting for anything.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let log = || OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(program());
        command.arg("up").arg("--data-dir").arg(self.data());
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--pod-cidr", &self.pod_cidr()]);
        command.args(["--simulate-nodes", &self.options.simulated_nodes.to_string()]);
        if self.options.agent == Agent::None {
            command.arg("--no-agent");
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(log()).stderr(log());
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until the cluster answers and has its nodes.
    pub fn wait_ready(&mut self) {
        let nodes = self.options.simulated_nodes as usize + usize::from(self.options.agent == Agent::Real);
        eventually("berth is ready", READY_DEADLINE, || {
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                panic!("berth up ended with {status}\n{}", self.log());
            }
            let output = self.kubectl(&["get", "nodes", "--no-headers"]);
            let ready = output.stdout.lines().filter(|line| line.contains(" Ready ")).count();
            if output.code == 0 && ready == nodes { Ok(()) } else { Err(output.stdout + &output.stderr) }
        });
    }

    /// An own range for every port, apart from the default range of Services.
    fn pod_cidr(&self) -> String {
        let [high, low] = self.port.saturating_sub(EPHEMERAL_FIRST).to_be_bytes();
        format!("10.{}.{low}.0/24", 100 + high)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// A directory for the test's own files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where the API server listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id of `berth up`.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("berth.log")
    }

    /// What `berth up` has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Ends `berth up` as a crash would.
    pub fn kill_9(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Ends `berth up` as Ctrl-C would.
    pub fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        // It may have ended by itself; then there is nothing to signal.
        let _gone = kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM);
        let end = std::time::Instant::now() + STOP_DEADLINE;
        while process.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > end {
                process.kill().unwrap();
                process.wait().unwrap();
                assert!(std::thread::panicking(), "berth up did not stop within {STOP_DEADLINE:?}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The command for kubectl on this cluster, to be changed further.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(kubectl());
        // kubectl keeps what it discovers below its home: each cluster has its own.
        command.args(args).env("KUBECONFIG", self.data().join("kubeconfig")).env("HOME", self.root.path());
        command.current_dir(self.root.path());
        command
    }

    /// Runs kubectl.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> Output {
        run(&mut self.kubectl_command(args), "", COMMAND_DEADLINE)
    }

    /// Runs kubectl with this standard input.
    #[track_caller]
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Output {
        run(&mut self.kubectl_command(args), input, COMMAND_DEADLINE)
    }

    /// Starts kubectl beside the test.
    pub fn kubectl_beside(&self, args: &[&str]) -> Background {
        Background::start(&mut self.kubectl_command(args))
    }

    /// How many watches clients have open, by the server's own count.
    #[track_caller]
    pub fn open_watches(&self) -> u32 {
        let metrics = self.kubectl(&["get", "--raw", "/metrics"]).ok();
        let gauge = metrics
            .lines()
            .find_map(|line| line.strip_prefix("apiserver_longrunning_requests{verb=\"WATCH\"} "));
        gauge.and_then(|count| count.parse().ok()).expect("the gauge of open watches")
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with(&["apply", "-f", "-"], manifest).ok()
    }

    /// `kubectl get ARGS -o json`.
    #[track_caller]
    pub fn get(&self, args: &[&str]) -> Value {
        let all = [&["get"], args, &["-o", "json"]].concat();
        serde_json::from_str(&self.kubectl(&all).ok()).unwrap()
    }

    /// Runs another command of berth's on this cluster, such as `plugin ls`.
    #[track_caller]
    pub fn berth(&self, args: &[&str]) -> Output {
        run(&mut self.berth_command(args), "", COMMAND_DEADLINE)
    }

    /// Starts such a command beside the test.
    pub fn berth_beside(&self, args: &[&str]) -> Background {
        Background::start(&mut self.berth_command(args))
    }

    /// Runs a script as its reader would, with `berth` and `kubectl` on the path and this cluster as the one that is meant.
    /// What it says on standard error stands in its output, too.
    #[track_caller]
    pub fn shell(&self, directory: &Path, script: &str, variables: &[(&str, &Path)]) -> Output {
        let programs = self.root.path().join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        for (name, program) in [("berth", program()), ("kubectl", kubectl().to_owned())] {
            let link = programs.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(program, link).unwrap();
            }
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{script}")]).current_dir(directory);
        command.env("PATH", path).env("KUBECONFIG", self.data().join("kubeconfig"));
        command
            .env("KUBECACHEDIR", self.root.path().join("cache"))
            .env("BERTH_DATA_DIR", self.data())
            .envs(variables.iter().copied())
            .env("NO_COLOR", "1");
        run(&mut command, "", SCRIPT_DEADLINE)
    }

    fn berth_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).arg("--data-dir").arg(self.data()).env("NO_COLOR", "1");
        command
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            let log = self.log();
            let from = log.len().saturating_sub(LOG_SHOWN_BYTES);
            let from = (from..=log.len()).find(|&at| log.is_char_boundary(at)).unwrap_or(0);
            eprintln!("--- the end of berth's log:\n{}", &log[from..]);
        }
        if self.process.is_some() {
            self.stop();
        }
        let mut down = Command::new(program());
        down.arg("down").arg("--data-dir").arg(self.data()).stdin(Stdio::null());
        let status = down
            .stdout(Stdio::null())
            .stderr(File::create(self.root.path().join("down.log")).unwrap())
            .status();
        let done = status.is_ok_and(|status| status.success());
        assert!(
            done || failed,
            "{}",
            std::fs::read_to_string(self.root.path().join("down.log")).unwrap_or_default()
        );
    }
}
