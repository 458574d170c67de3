//! A registry of a test's own.

use crate::{eventually, repository, run};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// For the registry to listen, and for one request to it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Debian's `docker-registry` on a free port of loopback, empty at first; gone when dropped.
pub struct Registry {
    process: Child,
    port: u16,
    root: TempDir,
}

impl Registry {
    /// Starts one and waits until it listens.
    pub fn start() -> Self {
        let root = tempfile::Builder::new().prefix("berth-registry-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, data) = (root.path().join("registry.yml"), root.path().join("data"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program());
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process =
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: run `make setup`"));
        let registry = Self { process, port, root };
        eventually("the registry listens", DEADLINE, || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        registry
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes the one image of an OCI archive.
    pub fn push(&self, archive: &Path, repository: &str, tag: &str) {
        let layout = self.root.path().join("layout");
        std::fs::create_dir_all(&layout).unwrap();
        run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout), "", DEADLINE).ok();
        let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
        let json =
            |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        let entry = &json(layout.join("index.json"))["manifests"][0];
        let path = blob(entry["digest"].as_str().unwrap());
        let manifest = json(path.clone());
        let base = format!("http://{}/v2/{repository}", self.address());
        for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let digest = part["digest"].as_str().unwrap();
            let head = curl(&["-D", "-", "-X", "POST", "--data", "", &format!("{base}/blobs/uploads/")]);
            let place = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim();
            put(&format!("{place}&digest={digest}"), "application/octet-stream", &blob(digest));
        }
        put(&format!("{base}/manifests/{tag}"), entry["mediaType"].as_str().unwrap(), &path);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The one that the set-up keeps beside the other tools, or the system's.
fn program() -> PathBuf {
    let kept = repository().join("target/tools/docker-registry");
    if kept.is_file() { kept } else { "docker-registry".into() }
}

fn put(url: &str, media_type: &str, body: &Path) {
    let (header, body) = (format!("Content-Type: {media_type}"), format!("@{}", body.display()));
    curl(&["-X", "PUT", "-H", &header, "--data-binary", &body, url]);
}

fn curl(args: &[&str]) -> String {
    run(Command::new("curl").args(["-sS", "--fail", "--noproxy", "*"]).args(args), "", DEADLINE).ok()
}
