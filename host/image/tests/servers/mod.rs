//! Two registries: Debian's, and a fake one that answers as it is told; and pulling from them.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use berth_image::{Credentials, Digest, Image, ImageError, Login, PullOptions, RegistryConfig};

use crate::common::*;

/// How long the registry may take to start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// Debian's `docker-registry` on a free port of loopback; it ends with the test.
pub(crate) struct Registry {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = dir.path().join("registry.yml");
        let root = dir.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        // The one that the set-up keeps beside the other tools, or the system's.
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/docker-registry");
        let process = Command::new(if kept.is_file() { kept } else { "docker-registry".into() })
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry cannot be started ({error}): run `make setup`"));
        let registry = Registry { process, port, _dir: dir };
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes blobs; the last one is the manifest.
    pub(crate) async fn push(&self, repository: &str, tag: &str, media_type: &str, blobs: &[Vec<u8>]) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://{}/v2/{repository}", self.host());
        let (manifest, blobs) = blobs.split_last().unwrap();
        for blob in blobs {
            let started = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
            let location = started.headers()["location"].to_str().unwrap().to_owned();
            let put =
                client.put(location).query(&[("digest", Digest::of(blob).to_string())]).body(blob.clone());
            assert_eq!(put.send().await.unwrap().status(), 201);
        }
        let put = client
            .put(format!("{base}/manifests/{tag}"))
            .header("content-type", media_type)
            .body(manifest.clone());
        let answer = put.send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill(); // It may have ended by itself.
        let _ = self.process.wait();
    }
}

/// An answer of the fake registry.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    media_type: String,
    body: Vec<u8>,
    /// Bytes promised but not sent.
    withheld_bytes: usize,
    /// Further header lines.
    headers: String,
    /// How long each byte of the body takes.
    per_byte: Duration,
}

impl Answer {
    pub(crate) fn ok(media_type: &str, body: &[u8]) -> Answer {
        Answer {
            status: 200,
            media_type: media_type.to_owned(),
            body: body.to_vec(),
            withheld_bytes: 0,
            headers: String::new(),
            per_byte: Duration::ZERO,
        }
    }

    pub(crate) fn redirect(to: &str) -> Answer {
        Answer { headers: format!("location: {to}\r\n"), ..Answer::status(307, "") }
    }

    /// Byte by byte.
    pub(crate) fn dripping(self, per_byte: Duration) -> Answer {
        Answer { per_byte, ..self }
    }

    pub(crate) fn status(status: u16, body: &str) -> Answer {
        Answer { status, ..Answer::ok("application/json", body.as_bytes()) }
    }

    /// The first half of a body, then the connection breaks.
    pub(crate) fn cut_short(body: &[u8]) -> Answer {
        let half = body.len() / 2;
        Answer { withheld_bytes: body.len() - half, ..Answer::ok("application/octet-stream", &body[..half]) }
    }
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, Answer>,
    /// What is answered first, and how many times.
    faults: HashMap<String, (Answer, usize)>,
    /// The `Authorization` that is wanted, and the challenge for whoever has another.
    lock: Option<(String, String)>,
    requests: Vec<String>,
}

/// The fake registry; its thread ends with the test's process.
pub(crate) struct Fake {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    pub(crate) fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = Arc::clone(&shared);
                // A client that hangs up (https first, on loopback) is no concern of the fake's.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &script)));
            }
        });
        Fake { port, script }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.script().answers.insert(path.to_owned(), answer);
    }

    pub(crate) fn fail_first(&self, path: &str, answer: Answer, times: usize) {
        self.script().faults.insert(path.to_owned(), (answer, times));
    }

    pub(crate) fn require(&self, authorization: &str, challenge: &str) {
        self.script().lock = Some((authorization.to_owned(), challenge.to_owned()));
    }

    /// Nothing is there any more.
    pub(crate) fn lose(&self, path: &str) {
        self.script().answers.remove(path);
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.script().answers.get_mut(path).unwrap().body);
    }

    pub(crate) fn body(&self, path: &str) -> Vec<u8> {
        self.script().answers[path].body.clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.script().answers.keys().cloned().collect()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.script().requests.clone()
    }
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let (answer, challenge) = choose(&mut script.lock().unwrap(), &path, request);
    let length = answer.body.len() + answer.withheld_bytes;
    let head = format!(
        "HTTP/1.1 {} x\r\ncontent-type: {}\r\ncontent-length: {length}\r\nconnection: close\r\n{}{challenge}\r\n",
        answer.status, answer.media_type, answer.headers
    );
    stream.write_all(head.as_bytes())?;
    if answer.per_byte.is_zero() {
        return stream.write_all(&answer.body);
    }
    for byte in answer.body {
        stream.write_all(&[byte])?;
        // Whoever has hung up ends this with the next byte or two.
        std::thread::sleep(answer.per_byte);
    }
    Ok(())
}

fn choose(script: &mut Script, path: &str, request: String) -> (Answer, String) {
    let given = request
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(k, _)| k.eq_ignore_ascii_case("authorization")));
    let refused = match &script.lock {
        Some((wanted, challenge)) if path != "/token" && given.is_none_or(|(_, value)| value != wanted) => {
            Some(challenge.clone())
        }
        _ => None,
    };
    script.requests.push(request.clone());
    if let Some(challenge) = refused {
        return (Answer::status(401, "{}"), format!("www-authenticate: {challenge}\r\n"));
    }
    if let Some((answer, left)) = script.faults.get_mut(path)
        && *left > 0
    {
        *left -= 1;
        return (answer.clone(), String::new());
    }
    let answer = script.answers.get(path).cloned();
    (
        answer.unwrap_or_else(|| Answer::status(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)),
        String::new(),
    )
}

pub(crate) fn options(yaml: &str) -> PullOptions {
    PullOptions { registries: Arc::new(RegistryConfig::parse(yaml).unwrap()), ..Default::default() }
}

pub(crate) fn login(secret: &str, password: &str) -> Login {
    let credentials = Credentials::Basic { username: "me".into(), password: password.into() };
    Login { origin: format!("secret {secret:?}"), credentials }
}

pub(crate) async fn pull(
    store: &Store,
    name: &str,
    credentials: Option<&Credentials>,
    yaml: &str,
) -> Result<Image, ImageError> {
    let logins = credentials
        .map(|credentials| Login { origin: "secret \"mine\"".to_owned(), credentials: credentials.clone() });
    let logins: Vec<Login> = logins.into_iter().collect();
    store.store.pull(&name.parse().unwrap(), &logins, &options(yaml)).await
}

pub(crate) fn layers() -> Vec<Vec<u8>> {
    (0..5).map(|n| Tar::new().file(&format!("file{n}"), &vec![n; 300_000]).build()).collect()
}

/// An image on a fake server, with the answers it needs.
pub(crate) fn image_on(fake: &Fake) -> String {
    let layers = vec![layers().remove(0)];
    let (descriptor, blobs) = oci_image(&layers, &[gzip(&layers[0])]);
    for bytes in &blobs {
        fake.answer(
            &format!("/v2/app/blobs/{}", Digest::of(bytes)),
            Answer::ok("application/octet-stream", bytes),
        );
    }
    fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, &blobs[2]));
    fake.answer(
        &format!("/v2/app/manifests/{}", descriptor["digest"].as_str().unwrap()),
        Answer::ok(OCI_MANIFEST, &blobs[2]),
    );
    format!("{}/app", fake.host())
}

pub(crate) fn layer_path(fake: &Fake) -> String {
    let size = |path: &String| fake.body(path).len();
    let blobs = fake.paths().into_iter().filter(|path| path.contains("/blobs/"));
    // The config is JSON, the layer is not.
    blobs.filter(|path| !fake.body(path).starts_with(b"{")).max_by_key(size).unwrap()
}

/// Makes a fake registry answer wrongly.
pub(crate) type Spoil<'a> = &'a dyn Fn(&Fake);
