//! exec, run and logs: what goes in and comes out, and exit codes.

use crate::{SOON, busybox, cluster, contains, ready};
use berth_tests::{eventually, holds, run};
use std::fs::File;
use std::process::{Command, Stdio};

#[test]
fn exec_gives_output_input_and_exit_codes() {
    let Some(berth) = cluster("containers::exec_gives_output_input_and_exit_codes") else { return };
    berth.apply(&busybox("shell", "sleep infinity", ""));
    ready(&berth, "shell");
    let exec = |script: &str| berth.kubectl(&["exec", "shell", "--", "sh", "-c", script]);
    assert_eq!(exec("echo out; echo err >&2").stdout, "out\n");
    contains(&exec("echo out; echo err >&2").stderr, &["err\n"]);
    for code in [1, 7, 126, 255] {
        assert_eq!(exec(&format!("exit {code}")).code, code);
    }
    let missing = berth.kubectl(&["exec", "shell", "--", "/no/such/command"]);
    assert_ne!(missing.code, 0);
    contains(&missing.stderr, &["/no/such/command", "no such file or directory"]);
    let large = "x".repeat(99) + "\n";
    let echoed = berth.kubectl_with(&["exec", "-i", "shell", "--", "cat"], &large.repeat(10_000)).ok();
    assert_eq!(echoed.len(), 1_000_000, "all of it comes back");
    contains(&berth.kubectl(&["exec", "absent", "--", "true"]).fails(), &[r#"pods "absent" not found"#]);
    let container = berth.kubectl(&["exec", "shell", "-c", "none", "--", "true"]).fails();
    contains(&container, &["container", "none"]);
}

#[test]
fn exec_with_a_terminal() {
    let Some(berth) = cluster("containers::exec_with_a_terminal") else { return };
    berth.apply(&busybox("shell", "sleep infinity", ""));
    ready(&berth, "shell");
    // util-linux' script gives kubectl a terminal of its own.
    let kubectl = berth_tests::kubectl().display();
    let command = format!("{kubectl} exec -it shell -- sh -c 'tty; test -t 0 && exit 5'");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("HOME", berth.root());
    script.env("KUBECONFIG", berth.data().join("kubeconfig"));
    let output = run(&mut script, "", SOON);
    assert_eq!(output.code, 5, "{output:?}");
    contains(&output.stdout, &["/dev/pts/0"]);
}

#[test]
fn a_client_that_is_killed_takes_its_process_along() {
    let Some(berth) = cluster("containers::a_client_that_is_killed_takes_its_process_along") else { return };
    berth.apply(&busybox("shell", "sleep infinity", ""));
    ready(&berth, "shell");
    let processes = || berth.kubectl(&["exec", "shell", "--", "ps", "-o", "args"]).ok();
    let runs = |process: &str| processes().lines().any(|line| line == process);
    let zeroes = || Stdio::from(File::open("/dev/zero").unwrap());
    // It does not read its input; its input is quiet; its child does not; nobody reads its output.
    for (process, script, stdin) in [
        ("sleep 7001", "exec sleep 7001", zeroes()),
        ("sleep 7002", "exec sleep 7002", Stdio::piped()),
        ("sleep 7003", "sleep 7003; true", zeroes()),
        ("sh -c while :; do echo 7004; done", "while :; do echo 7004; done", zeroes()),
    ] {
        let mut command = berth.kubectl_command(&["exec", "-i", "shell", "--", "sh", "-c", script]);
        let mut client = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it runs", SOON, || holds(runs(process), process));
        client.kill().unwrap();
        client.wait().unwrap();
        eventually("it is gone", SOON, || holds(!runs(process), processes()));
    }
}

#[test]
fn attach_joins_a_container_that_runs() {
    let Some(berth) = cluster("containers::attach_joins_a_container_that_runs") else { return };
    let more = "    stdin: true\n    stdinOnce: true\n  restartPolicy: Never\n";
    berth.apply(&busybox("echoes", "while read line; do echo got $line; done; exit 4", more));
    ready(&berth, "echoes");
    let output = berth.kubectl_with(&["attach", "-i", "echoes"], "one\ntwo\n");
    contains(&output.stdout, &["got one\ngot two\n"]);
    assert_eq!(output.code, 0, "{output:?}");
    contains(&berth.kubectl(&["attach", "absent"]).fails(), &[r#"pods "absent" not found"#]);
}

#[test]
fn run_removes_its_pod_and_ends_with_its_code() {
    let Some(berth) = cluster("containers::run_removes_its_pod_and_ends_with_its_code") else { return };
    let run = [
        "run",
        "once",
        "--rm",
        "-i",
        "--image=busybox:latest",
        "--image-pull-policy=IfNotPresent",
        "--restart=Never",
    ];
    let script = ["--", "sh", "-c", "read line; echo \"got $line\"; exit 4"];
    let output = berth.kubectl_with(&[&run[..], &script[..]].concat(), "hello\n");
    assert_eq!(output.code, 4, "{output:?}");
    contains(&output.stdout, &["got hello\n", r#"pod "once" deleted"#]);
    berth.kubectl(&["get", "pod", "once"]).fails();
}

#[test]
fn logs_of_this_container_and_the_one_before() {
    let Some(berth) = cluster("containers::logs_of_this_container_and_the_one_before") else { return };
    // It fails once, then goes on: what it was is kept in a volume.
    let script =
        "if [ -f /work/again ]; then echo second; sleep infinity; fi; touch /work/again; echo first; exit 3";
    let more =
        "    volumeMounts: [{name: work, mountPath: /work}]\n  volumes: [{name: work, emptyDir: {}}]\n";
    berth.apply(&busybox("twice", script, more));
    eventually("it runs again", SOON, || {
        let pod = berth.get(&["pod", "twice"]);
        let status = &pod["status"]["containerStatuses"][0];
        holds(status["restartCount"] == 1 && status["ready"] == true, status)
    });
    assert_eq!(berth.kubectl(&["logs", "twice"]).ok(), "second\n");
    assert_eq!(berth.kubectl(&["logs", "twice", "--previous"]).ok(), "first\n");
    let last = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(berth.kubectl(&["get", "pod", "twice", "-o", last]).ok(), "3");
    let stamped = berth.kubectl(&["logs", "twice", "--timestamps"]).ok();
    assert!(stamped.starts_with("20") && stamped.ends_with("Z second\n"), "{stamped}");

    berth.apply(&busybox("lines", "for i in 1 2 3 4 5; do echo line $i; done; sleep infinity", ""));
    ready(&berth, "lines");
    eventually("the last lines", SOON, || {
        let tail = berth.kubectl(&["logs", "lines", "--tail=2"]).ok();
        holds(tail == "line 4\nline 5\n", tail)
    });
}
