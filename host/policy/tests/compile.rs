//! Compiling in a process of its own, under limits.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_policy::{COMPILE_ARGUMENT, CompileLimits, Limits};
use berth_scheduler::policy::{Columns, Policy};
use common::{cluster, engine, guest, scores};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

const BERTH_COMPILE: &str = env!("CARGO_BIN_EXE_berth-compile");

fn start(limits: CompileLimits) -> Child {
    let mut command = Command::new(BERTH_COMPILE);
    command.arg0(COMPILE_ARGUMENT).args(limits.arguments());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The compiled code, or why there is none.
fn compile(bytes: &[u8], limits: CompileLimits) -> Result<Vec<u8>, String> {
    let mut child = start(limits);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
    stdin.write_all(bytes).unwrap();
    let (mut code, mut said) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut code).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    drop(stdin);
    limits.explain_end(status, &said).map_or(Ok(code), Err)
}

/// A component that is cheap to send and dear to compile: one function of so many steps, each of which needs the one before.
fn dear(steps: usize) -> Vec<u8> {
    let step = "(local.set 0 (i32.mul (i32.add (local.get 0) (local.get 1)) (i32.load (local.get 0))))";
    let text = format!("(component (core module (memory 1) (func (param i32 i32) {})))", step.repeat(steps));
    wat::parse_str(text).unwrap()
}

#[test]
fn what_another_process_compiled_decides_the_same() {
    let bytes = guest("plugins/spread");
    let code = compile(&bytes, CompileLimits::default()).unwrap();
    // SAFETY: the code is what the process above wrote.
    let there = unsafe { engine().load_compiled(&bytes, &code, Limits::default()) }.unwrap();
    let here = engine().load(&bytes, Limits::default()).unwrap();
    assert_eq!(there.digest(), here.digest());
    let [there, here] = [there, here].map(|component| {
        let mut policy = component.scheduler("spread", b"", Columns::default()).unwrap();
        let everything = cluster(5, policy.manifest());
        policy.feed(&everything).unwrap();
        scores(&mut policy, 1, &[0, 1, 2, 3, 4]).unwrap()
    });
    assert_eq!(there, here);
}

#[test]
fn what_does_not_compile_says_why() {
    let mut bytes = guest("plugins/spread");
    bytes.truncate(bytes.len() / 2);
    let error = compile(&bytes, CompileLimits::default()).unwrap_err();
    assert!(error.starts_with("the component does not compile: "), "{error}");
}

#[test]
fn processor_time_has_a_limit() {
    let limits = CompileLimits { cpu_seconds: 1, ..CompileLimits::default() };
    let error = compile(&dear(300_000), limits).unwrap_err();
    assert_eq!(error, "compiling the component takes more than 1 s of processor time");
}

#[test]
fn memory_has_a_limit() {
    let limits = CompileLimits { memory_bytes: 64 << 20, ..CompileLimits::default() };
    let error = compile(&dear(300_000), limits).unwrap_err();
    assert_eq!(error, "compiling the component takes more than 64 MiB of memory");
}

#[test]
fn time_has_a_limit() {
    let limits = CompileLimits { wall_seconds: 1, ..CompileLimits::default() };
    let error = compile(&dear(300_000), limits).unwrap_err();
    assert_eq!(error, "compiling the component takes more than 1 s");
}

#[test]
fn it_ends_when_nobody_waits_for_the_answer() {
    let mut child = start(CompileLimits::default());
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), dear(300_000));
    stdin.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
    stdin.write_all(&bytes).unwrap();
    drop(stdin);
    let mut code = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut code).unwrap();
    assert_eq!((child.wait().unwrap().code(), code.len()), (Some(2), 0));
}
