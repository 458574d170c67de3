//! Processes exec'd in running containers, terminals, and attached clients.

use std::io::{Read, Write};
use std::time::Duration;

use berth_runtime::{Error, ExecSpec, StartErrorKind, Stdin, Stdio, TerminalSize, User};

use crate::support::{Node, PATIENCE, eventually, exec, finish, log_of};

fn sleeper(node: &Node) -> (berth_runtime::PodHandle, berth_runtime::ContainerSpec) {
    let pod = node.pod();
    let mut spec = node.container(&["/bin/sleep", "1000"]);
    spec.env = vec![("FROM".into(), "container".into())];
    spec.cwd = "/tmp".into();
    pod.start_container(&spec).unwrap();
    (pod, spec)
}

fn args(args: &[&str]) -> Vec<String> {
    args.iter().map(ToString::to_string).collect()
}

#[test]
fn exec_sees_the_container_and_returns_output_and_code() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let script = "echo $FROM; pwd; cat /proc/1/cmdline | head -c 10; echo; echo oops >&2; exit 9";
    let (code, stdout, stderr) = exec(&pod, &spec.id, &["sh", "-c", script]);
    assert_eq!(code, 9);
    assert_eq!(stdout, "container\n/tmp\n/bin/sleep\n");
    assert_eq!(stderr, "oops\n");
    assert_eq!(exec(&pod, &spec.id, &["sh", "-c", "kill -9 $$"]).0, 137);
}

#[test]
fn exec_has_input_user_and_environment_of_its_own() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let mut process = pod
        .exec(
            &spec.id,
            &ExecSpec {
                args: args(&["sh", "-c", "cat; id -u; pwd; echo $FROM"]),
                env: vec![("FROM".into(), "exec".into())],
                user: Some(User { image_user: "web".into(), ..User::default() }),
                cwd: Some("/etc".into()),
                stdio: Stdio::Pipes { stdin: Stdin::Once },
                hang_up: false,
            },
        )
        .unwrap();
    process.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let (code, stdout, _) = finish(process);
    assert_eq!((code, stdout.as_str()), (0, "typed\n33\n/etc\nexec\n"));
}

#[test]
fn exec_of_what_is_not_there_is_a_typed_error() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let check = |command: &str| match pod.exec(&spec.id, &ExecSpec::new(args(&[command]))) {
        Err(Error::Start(error)) => (error.kind, error.message),
        other => panic!("{other:?}"),
    };
    let expected = r#"exec: "nope": executable file not found in $PATH"#;
    assert_eq!(check("nope"), (StartErrorKind::CommandNotFound, expected.into()));
    let expected = r#"exec: "/etc": is a directory"#;
    assert_eq!(check("/etc"), (StartErrorKind::CommandNotExecutable, expected.into()));
    assert!(matches!(pod.exec("unknown", &ExecSpec::new(args(&["true"]))), Err(Error::NotFound { .. })));
    pod.kill(&spec.id, libc::SIGKILL).unwrap();
    pod.wait(&spec.id, Some(PATIENCE)).unwrap().unwrap();
    assert!(matches!(pod.exec(&spec.id, &ExecSpec::new(args(&["true"]))), Err(Error::Conflict(_))));
}

#[test]
fn many_short_execs_lose_no_exit_code() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (pod, spec) = (&pod, &spec);
            scope.spawn(move || {
                for round in 0..10 {
                    let wanted = worker * 10 + round;
                    let script = format!("echo {wanted}; exit {wanted}");
                    let (code, stdout, _) = exec(pod, &spec.id, &["sh", "-c", &script]);
                    assert_eq!((code, stdout), (wanted, format!("{wanted}\n")));
                }
            });
        }
    });
}

#[test]
fn exec_is_confined_as_the_container_is() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let status = "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status; cat /proc/self/cgroup";
    let (_, from_exec, _) = exec(&pod, &spec.id, &["sh", "-c", status]);
    let from_init =
        exec(&pod, &spec.id, &["sh", "-c", "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/1/status"]).1;
    assert!(from_exec.starts_with(&from_init), "{from_exec} {from_init}");
    assert!(from_init.contains("Seccomp:\t2"), "{from_init}");
    let cgroups: Vec<&str> =
        from_exec.lines().filter(|line| line.contains("memory:") || line.starts_with("0::")).collect();
    assert!(cgroups.iter().any(|line| line.ends_with(":/")), "in the container's own group: {cgroups:?}");
}

#[test]
fn a_process_can_be_waited_for_and_signalled() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let process = pod.exec(&spec.id, &ExecSpec::new(args(&["sleep", "1000"]))).unwrap();
    assert_eq!(process.wait(Some(Duration::from_millis(20))).unwrap(), None);
    process.signal(libc::SIGKILL).unwrap();
    let exit = process.wait(Some(PATIENCE)).unwrap().unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
}

#[test]
fn a_process_whose_caller_goes_is_hung_up_with_its_children_unless_it_ignores_that() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let start = |script: &str, hang_up: bool| {
        pod.exec(&spec.id, &ExecSpec { hang_up, ..ExecSpec::new(args(&["sh", "-c", script])) }).unwrap()
    };
    let runs =
        |command: &str| exec(&pod, &spec.id, &["ps", "-o", "args"]).1.lines().any(|line| line == command);
    let hung_up = start("sleep 7001; true", true);
    let ignoring = start("trap '' HUP; exec sleep 7002", true);
    let other = start("exec sleep 7003", false);
    let all = ["sleep 7001", "sleep 7002", "sleep 7003"];
    eventually("all of them run", || all.iter().all(|command| runs(command)));
    drop((hung_up, ignoring, other));
    eventually("the first has ended, and its child as well", || !runs("sleep 7001"));
    assert!(runs("sleep 7002") && runs("sleep 7003"));
}

#[test]
fn a_death_by_a_real_time_signal_is_one_like_any_other() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let process = pod.exec(&spec.id, &ExecSpec::new(args(&["sh", "-c", "kill -40 $$; sleep 1000"]))).unwrap();
    let exit = process.wait(Some(PATIENCE)).unwrap().expect("its end was not noticed");
    assert_eq!((exit.code, exit.signal), (168, Some(40)));
    // Nor does it hide the deaths of others.
    pod.kill(&spec.id, libc::SIGKILL).unwrap();
    assert_eq!(pod.wait(&spec.id, Some(PATIENCE)).unwrap().expect("it was noticed").code, 137);
}

#[test]
fn exec_with_a_terminal_has_one_and_follows_its_size() {
    let node = Node::new();
    let (pod, spec) = sleeper(&node);
    let size = TerminalSize { rows: 30, columns: 100 };
    let mut process = pod
        .exec(
            &spec.id,
            &ExecSpec {
                stdio: Stdio::Terminal { size },
                ..ExecSpec::new(args(&[
                    "sh",
                    "-c",
                    "test -t 0 && stty size; read x; stty size; echo got $x; exit 5",
                ]))
            },
        )
        .unwrap();
    let mut terminal = process.terminal.take().unwrap();
    let mut seen = String::new();
    read_until(&mut terminal, &mut seen, "30 100");
    process.terminal = Some(terminal.try_clone().unwrap());
    process.resize(TerminalSize { rows: 40, columns: 120 }).unwrap();
    terminal.write_all(b"input\n").unwrap();
    read_until(&mut terminal, &mut seen, "40 120");
    read_until(&mut terminal, &mut seen, "got input");
    assert_eq!(process.wait(Some(PATIENCE)).unwrap().unwrap().code, 5);
}

/// Reads until the text has come; the terminal's end is an error.
fn read_until(terminal: &mut impl Read, seen: &mut String, wanted: &str) {
    let mut buffer = [0; 256];
    while !seen.contains(wanted) {
        let count =
            terminal.read(&mut buffer).unwrap_or_else(|error| panic!("{wanted:?} in {seen:?}: {error}"));
        assert_ne!(count, 0, "{wanted:?} in {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[test]
fn a_client_attaches_to_input_and_output() {
    let node = Node::new();
    let pod = node.pod();
    let mut spec = node.container(&["/bin/cat"]);
    spec.stdio = Stdio::Pipes { stdin: Stdin::Once };
    pod.start_container(&spec).unwrap();
    let mut client = pod.attach(&spec.id).unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"first\nsecond\n").unwrap();
    let mut seen = String::new();
    read_until(client.stdout.as_mut().unwrap(), &mut seen, "second\n");
    assert!(pod.attach(&spec.id).unwrap().stdin.is_none(), "the input belongs to the first client");
    drop(stdin);
    let exit = pod.wait(&spec.id, Some(PATIENCE)).unwrap().unwrap();
    assert_eq!(exit.code, 0, "the end of the client was the end of the input");
    assert_eq!(client.stdout.unwrap().read(&mut [0; 16]).unwrap(), 0);
    assert_eq!(log_of(&spec), ["stdout F first", "stdout F second"]);
}

#[test]
fn a_slow_client_loses_nothing() {
    let node = Node::new();
    let pod = node.pod();
    let mut spec = node.shell("read x; i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done");
    spec.stdio = Stdio::Pipes { stdin: Stdin::Open };
    pod.start_container(&spec).unwrap();
    let mut client = pod.attach(&spec.id).unwrap();
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    // Much more than pipes hold, and nobody reads yet: the container waits.
    eventually("output has begun", || !log_of(&spec).is_empty());
    let text = std::io::read_to_string(client.stdout.take().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 20_000);
    assert_eq!(pod.wait(&spec.id, Some(PATIENCE)).unwrap().unwrap().code, 0);
    assert_eq!(log_of(&spec).len(), 20_000);
}

#[test]
fn a_container_with_a_terminal_is_attached_to_and_resized() {
    let node = Node::new();
    let pod = node.pod();
    let mut spec =
        node.shell("test -t 1 && test -c /dev/console && echo terminal; read x; stty size; echo got $x");
    spec.stdio = Stdio::Terminal { size: TerminalSize::default() };
    pod.start_container(&spec).unwrap();
    let mut client = pod.attach(&spec.id).unwrap();
    assert!(client.stderr.is_none());
    pod.resize(&spec.id, TerminalSize { rows: 50, columns: 132 }).unwrap();
    client.stdin.as_mut().unwrap().write_all(b"abc\n").unwrap();
    assert_eq!(pod.wait(&spec.id, Some(PATIENCE)).unwrap().unwrap().code, 0);
    let log = log_of(&spec);
    for wanted in ["stdout F terminal", "stdout F 50 132", "stdout F got abc"] {
        assert!(log.iter().any(|line| line == wanted), "{wanted:?} in {log:?}");
    }
}
