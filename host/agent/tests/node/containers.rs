//! Containers that run as they should.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use berth_client::{ExecRequest, LogSince, NodeApi, Streams};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{Pod, World, until};

/// A container of the small image that runs a shell script.
pub(crate) fn shell(name: &str, script: &str) -> serde_json::Value {
    json!({ "name": name, "image": "busybox", "command": ["sh", "-c", script], "imagePullPolicy": "IfNotPresent" })
}

pub(crate) async fn a_pod_runs_answers_and_goes() {
    let world = World::new().await;
    // As the tutorial has it: `latest`, so that the policy is `Always`, of an image that was imported here.
    let resources = json!({ "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "200m", "memory": "256Mi" } });
    let container = json!({ "name": "web", "image": "my-app:latest", "resources": resources, "ports": [{ "containerPort": 8080 }] });
    let pod = world.run("web", json!({ "containers": [container] })).await;
    let status = pod.wait_ready().await;
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["qosClass"], "Burstable");
    let container = &status["containerStatuses"][0];
    assert!(container["containerID"].as_str().unwrap().starts_with("berth://"));
    assert_eq!(container["image"], "docker.io/library/my-app:latest");
    assert!(container["imageID"].as_str().unwrap().contains("@sha256:"));
    assert_eq!((&container["started"], &container["restartCount"]), (&json!(true), &json!(0)));

    let page =
        until("the pod answers", async || fetch(Pod::ip(&status)).map_err(|error| error.to_string())).await;
    assert!(page.starts_with("HTTP/1."), "{page}");
    assert_eq!(pod.exec("web", &["cat", "/app/version"]).await, (0, "v1\n".to_owned()));
    for event in [
        "Normal spec.containers{web} Pulled: Container image \"my-app:latest\" already present on machine",
        "Normal spec.containers{web} Created: Created container: web",
        "Normal spec.containers{web} Started: Started container web",
        "Warning - MissingClusterDNS: pod: \"web_default(",
    ] {
        pod.wait_event(event).await;
    }
    pod.delete().await;
    pod.wait_event("Normal spec.containers{web} Killing: Stopping container web").await;
    let missing = world.events("web").await.into_iter().filter(|event| event.contains("MissingClusterDNS"));
    assert_eq!(missing.count(), 1);
    assert!(!world.data().join("pods").join(&pod.uid).exists(), "its directory is removed");
    assert!(!world.data().join("run/pods").join(&pod.uid).exists(), "its sandbox is removed");
}

fn fetch(ip: std::net::Ipv4Addr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(ip, 8080).into(), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

pub(crate) async fn init_containers_sidecars_and_shared_namespaces() {
    let world = World::new().await;
    let mount = json!([{ "name": "shared", "mountPath": "/shared" }]);
    let with_mount = |mut container: serde_json::Value| {
        container["volumeMounts"] = mount.clone();
        container
    };
    let mut sidecar =
        with_mount(shell("side", "echo side >>/shared/order; nc -l -p 7000 -e echo from-side; sleep 1000"));
    sidecar["restartPolicy"] = json!("Always");
    let pod = world
        .run(
            "many",
            json!({
                "volumes": [{ "name": "shared", "emptyDir": {} }],
                "initContainers": [
                    with_mount(shell("first", "echo first >>/shared/order")),
                    sidecar,
                    with_mount(shell("second", "sleep 0.1; grep side /shared/order && echo second >>/shared/order")),
                ],
                "containers": [
                    with_mount(shell("a", "cat /shared/order; echo x >/dev/shm/x; sleep 1000")),
                    with_mount(shell("b", "sleep 1000")),
                ],
            }),
        )
        .await;
    let status = pod.wait_ready().await;
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(status["initContainerStatuses"][1]["started"], true);
    pod.wait_log("a", "first\nside\nsecond\n").await;
    let (_, heard) = pod.exec("b", &["nc", "127.0.0.1", "7000"]).await;
    assert_eq!(heard, "from-side\n", "they share the network");
    assert_eq!(pod.exec("b", &["cat", "/dev/shm/x"]).await.1, "x\n", "and /dev/shm");
    assert_eq!(pod.exec("b", &["hostname"]).await.1, "many\n");
    pod.delete().await;
}

pub(crate) async fn environment_and_command() {
    let world = World::new().await;
    world.create(berth_client::ApiResource::CONFIG_MAPS, "cfg", json!({ "data": { "k": "from-map" } })).await;
    world.create(berth_client::ApiResource::SECRETS, "sec", json!({ "data": { "p": "c2VjcmV0" } })).await;
    let mut container = shell("c", "echo $0; env; sleep 1000");
    container["args"] = json!(["$(GREETING)-$(NOT_THERE)"]);
    container["env"] = json!([
        { "name": "GREETING", "value": "hello" },
        { "name": "MAP", "valueFrom": { "configMapKeyRef": { "name": "cfg", "key": "k" } } },
        { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
        { "name": "LABEL", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
        { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
    ]);
    container["envFrom"] = json!([{ "prefix": "S_", "secretRef": { "name": "sec" } }]);
    let pod = world.run("env", json!({ "containers": [container] })).await;
    let status = pod.wait_ready().await;
    pod.wait_log("c", "HOME=").await;
    let log = pod.log(pod.log_request("c")).await;
    let ip = format!("IP={}\n", status["podIP"].as_str().unwrap());
    for line in [
        "hello-$(NOT_THERE)\n",
        "MAP=from-map\n",
        &ip,
        "LABEL=env\n",
        "NODE=node-1\n",
        "S_p=secret\n",
        "KUBERNETES_SERVICE_HOST=10.96.0.1\n",
    ] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    let mut request = pod.log_request("c");
    request.tail_lines = Some(1);
    assert_eq!(pod.log(request.clone()).await.lines().count(), 1);
    request.tail_lines = None;
    request.limit_bytes = Some(5);
    assert_eq!(pod.log(request.clone()).await, "hello");
    request.limit_bytes = None;
    request.since = Some(LogSince::Time("2999-01-01T00:00:00Z".to_owned()));
    assert_eq!(pod.log(request).await, "");
    pod.delete().await;
}

pub(crate) async fn limits_are_the_cgroups() {
    let world = World::new().await;
    let mut container = shell("c", "sleep 1000");
    container["resources"] = json!({ "limits": { "cpu": "250m", "memory": "48Mi" } });
    let pod = world.run("limited", json!({ "containers": [container] })).await;
    assert_eq!(pod.wait_ready().await["qosClass"], "Guaranteed");
    // Version 1 or 2 of the hierarchy: of a quota with its period, only one of the files is there.
    let script = "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu.max 2>/dev/null | xargs; \
                  cat memory/memory.limit_in_bytes memory.max 2>/dev/null";
    let (_, figures) = pod.exec("c", &["sh", "-c", script]).await;
    assert_eq!(figures, "25000 100000\n50331648\n");
    pod.delete().await;
}

pub(crate) async fn security_contexts_are_enforced() {
    let world = World::new().await;
    let mut container = shell("c", "sleep 1000");
    container["securityContext"] = json!({
        "runAsUser": 1000, "runAsGroup": 1001, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
    });
    container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    let pod = world
        .run(
            "secure",
            json!({
                "securityContext": { "fsGroup": 2000, "supplementalGroups": [3000] },
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "containers": [container],
            }),
        )
        .await;
    pod.wait_ready().await;
    let (_, id) = pod.exec("c", &["id"]).await;
    for part in ["uid=1000", "gid=1001", "2000", "3000"] {
        assert!(id.contains(part), "{part} in {id}");
    }
    assert_eq!(pod.exec("c", &["sh", "-c", "touch /x"]).await.0, 1, "the root file system is read-only");
    // Although this program's umask lets nobody else read what it makes.
    let (_, mounts) = pod.exec("c", &["cat", "/proc/self/mounts"]).await;
    for path in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        assert_eq!(pod.exec("c", &["cat", path]).await.0, 0, "{path} is for everybody");
        let mount = mounts.lines().find(|line| line.split(' ').nth(1) == Some(path)).unwrap();
        assert!(mount.split(' ').nth(3).unwrap().starts_with("ro,"), "{mount}");
    }
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(pod.exec("c", &["cat", &format!("{account}/token")]).await.0, 0);
    assert_eq!(pod.exec("c", &["sh", "-c", "touch /v/x && stat -c %g /v/x"]).await, (0, "2000\n".to_owned()));
    let (_, status) = pod.exec("c", &["grep", "-E", "NoNewPrivs|CapEff", "/proc/self/status"]).await;
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("CapEff:\t0000000000000000"), "{status}");
    pod.delete().await;
}

pub(crate) async fn hosts_dns_and_name() {
    let world = World::new().await;
    let pod = world
        .run(
            "named",
            json!({
                "hostname": "db", "subdomain": "data",
                "hostAliases": [{ "ip": "10.0.0.9", "hostnames": ["other"] }],
                "dnsPolicy": "None", "dnsConfig": { "nameservers": ["10.0.0.53"], "searches": ["x.y"] },
                "containers": [shell("c", "sleep 1000")],
            }),
        )
        .await;
    let status = pod.wait_ready().await;
    let (_, hosts) = pod.exec("c", &["cat", "/etc/hosts"]).await;
    let own = format!("{}\tdb.data.default.svc.cluster.local\tdb\n", status["podIP"].as_str().unwrap());
    assert!(hosts.contains(&own) && hosts.contains("10.0.0.9\tother\n"), "{hosts}");
    assert_eq!(pod.exec("c", &["cat", "/etc/resolv.conf"]).await.1, "nameserver 10.0.0.53\nsearch x.y\n");
    assert_eq!(pod.exec("c", &["sh", "-c", "hostname; cat /etc/hostname"]).await.1, "db\ndb\n");
    pod.delete().await;
}

pub(crate) async fn a_pod_has_so_many_processes_and_no_more() {
    let world = World::with(|config| config.pod_pids_max = Some(30)).await;
    let pod = world
        .run("bomb", json!({ "containers": [shell("c", "sleep 1000"), shell("d", "sleep 1000")] }))
        .await;
    pod.wait_ready().await;
    let own = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    assert_eq!(pod.exec("d", &["sh", "-c", own]).await.1, "max\n", "the limit is the pod's");
    let many = "i=0; while [ $i -lt 60 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done";
    let (code, said) = pod.exec("c", &["sh", "-c", many]).await;
    assert!(code != 0 && said.contains("can't fork"), "{code} {said}");
    pod.delete().await;
}

pub(crate) async fn a_user_by_name_is_not_root_and_is_told() {
    let world = World::new().await;
    let passwd = "root:x:0:0::/:/bin/sh\nclerk:x:4100:4100::/:/bin/sh\n";
    let layer = crate::archive::layer(&[("etc/passwd", 0o644, 0, passwd)]);
    world.import_on_busybox("clerk:1", &json!({ "User": "clerk" }), &layer);
    world.import_on_busybox("root-by-name:1", &json!({ "User": "root" }), &layer);
    let of = |image: &str| {
        let mut container = shell("c", "sleep 1000");
        container["image"] = json!(image);
        json!({ "securityContext": { "runAsNonRoot": true }, "containers": [container] })
    };
    let pod = world.run("clerk", of("clerk:1")).await;
    pod.wait_ready().await;
    assert_eq!(pod.exec("c", &["id", "-u"]).await.1, "4100\n");
    pod.wait_event("Warning spec.containers{c} NonRootByName: container has runAsNonRoot and image has non-numeric user (clerk)").await;
    let pod = world.run("root", of("root-by-name:1")).await;
    pod.wait("is refused", |status| {
        status["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    })
    .await;
    pod.delete().await;
}

pub(crate) async fn exec_with_input_and_exit_codes() {
    let world = World::new().await;
    let pod = world.run("exec", json!({ "containers": [shell("c", "sleep 1000")] })).await;
    pod.wait_ready().await;
    assert_eq!(pod.exec("c", &["sh", "-c", "echo out; echo err >&2; exit 7"]).await.0, 7);
    let request = ExecRequest {
        namespace: "default".to_owned(),
        pod: "exec".to_owned(),
        uid: pod.uid.clone(),
        container: "c".to_owned(),
        command: vec!["cat".to_owned()],
        tty: false,
    };
    let (input, stdin) = mpsc::channel(4);
    let (stdout, mut out) = mpsc::channel(4);
    input.send(Bytes::from_static(b"to and fro")).await.unwrap();
    drop(input);
    let streams = Streams { stdin: Some(stdin), stdout: Some(stdout), ..Streams::default() };
    let exit = world.node().exec(request.clone(), streams).await.unwrap();
    assert_eq!((exit.code(), out.recv().await.unwrap()), (0, Bytes::from_static(b"to and fro")));

    let (stdout, mut out) = mpsc::channel(4);
    let command = vec!["sh".to_owned(), "-c".to_owned(), "tty".to_owned()];
    let streams = Streams { stdout: Some(stdout), ..Streams::default() };
    let exit =
        world.node().exec(ExecRequest { tty: true, command, ..request.clone() }, streams).await.unwrap();
    let said = out.recv().await.unwrap();
    assert!(exit.code() == 0 && said.starts_with(b"/dev/"), "{said:?}");

    let command = vec!["nope".to_owned()];
    let error = world.node().exec(ExecRequest { command, ..request }, Streams::default()).await.unwrap_err();
    assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
    pod.delete().await;
}
