//! Running programs with a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at a program that runs.
const INTERVAL: Duration = Duration::from_millis(3);

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was run, for messages.
    pub command: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
}

impl Output {
    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}{}", self.command, self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error of a program that must have failed.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.code, 0, "{} should have failed\n{}{}", self.command, self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs a program to its end, with this standard input.
///
/// # Panics
/// When it cannot be started, or is not done before the deadline; it is killed then.
#[track_caller]
pub fn run(command: &mut Command, input: &str, deadline: Duration) -> Output {
    let text = format!("{command:?}");
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{text}: {error}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early does not read it all.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let end = Instant::now() + deadline;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!(
                "{text}: not done after {deadline:?}\n{}{}",
                stdout.join().unwrap(),
                stderr.join().unwrap()
            );
        }
        std::thread::sleep(INTERVAL);
    };
    let code = status.code().unwrap_or(-1);
    Output { command: text, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), code }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program that runs beside the test, such as `kubectl get -w`; killed when dropped.
pub struct Background {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Background {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (pipe, sink) = (BufReader::new(child.stdout.take().unwrap()), lines.clone());
        std::thread::spawn(move || {
            pipe.lines().map_while(Result::ok).for_each(|line| sink.lock().unwrap().push(line))
        });
        Self { child, lines }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
