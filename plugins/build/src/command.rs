//! Running programs, without inherited surprises and with a time limit where the network is involved.

use crate::BuildError;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What the calling cargo, rustc, clippy or make may have set for itself.
const DROPPED_PREFIXES: [&str; 7] = ["CARGO", "__CARGO", "RUST", "CLIPPY", "MAKE", "MFLAGS", "DEP_"];

/// What of it the called ones need too: where things are, and how to reach registries and mirrors.
const KEPT_PREFIXES: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "RUSTUP_DIST_",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_UPDATE_",
];

/// How often to look whether a program has ended.
const POLL: Duration = Duration::from_millis(50);

/// A command that does not see the variables of the cargo or make that called.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
        if has(&DROPPED_PREFIXES) && !has(&KEPT_PREFIXES) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end: standard output, standard error, success.
pub(crate) fn run(mut command: Command) -> Result<(String, String, bool), BuildError> {
    let Output { status, stdout, stderr } = command.output().map_err(|source| BuildError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&stdout), text(&stderr), status.success()))
}

/// First line of a program's output when it succeeds.
pub(crate) fn query(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = clean(program);
    command.args(arguments);
    let (stdout, _, success) = run(command).ok()?;
    success.then(|| stdout.lines().next().map(str::to_owned))?
}

/// Whether a program succeeds within a time; it is killed when the time is over.
pub(crate) fn succeeds_within(mut command: Command, limit: Duration) -> bool {
    let Ok(mut child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return false };
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            _ => break,
        }
    }
    // Errors mean that it has ended on its own.
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_flags_are_not_inherited() {
        // Cargo itself sets these for tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let mut env = clean("env");
        env.env("CARGO_PROFILE_RELEASE_LTO", "fat");
        let (variables, _, success) = run(env).unwrap();
        assert!(success);
        assert!(!variables.contains("CARGO_MANIFEST_DIR="), "{variables}");
        assert!(variables.contains("CARGO_PROFILE_RELEASE_LTO=fat"), "{variables}");
        assert!(variables.contains("PATH="), "{variables}");
    }

    #[test]
    fn programs_are_not_waited_for_beyond_their_time() {
        let mut endless = clean("sleep");
        endless.arg("600");
        assert!(!succeeds_within(endless, Duration::from_millis(100)));
        assert!(succeeds_within(clean("true"), Duration::from_secs(60)));
        assert!(!succeeds_within(clean("no-such-program"), Duration::from_secs(60)));
    }
}
