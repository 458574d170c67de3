//! What a container finds around it: environment, volumes, its service account, and probes that look at it.

use crate::{SOON, apply_example, busybox, cluster, contains, page, ready};
use berth_tests::{eventually, holds};

#[test]
fn configuration_as_environment_and_files() {
    let Some(berth) = cluster("containers::configuration_as_environment_and_files") else { return };
    apply_example(&berth, "config.yaml");
    ready(&berth, "my-app-configured");
    let exec = |script: &str| berth.kubectl(&["exec", "my-app-configured", "--", "sh", "-c", script]).ok();
    assert_eq!(exec("cat /etc/my-app/banner.txt"), "Configured by a ConfigMap.\n");
    assert_eq!(
        exec("cat /etc/my-app-secret/token; echo; stat -Lc %a /etc/my-app-secret/token"),
        "not-a-real-secret\n400\n"
    );
    assert_eq!(exec("echo $TOKEN"), "not-a-real-secret\n");
    let address = berth.kubectl(&["get", "pod", "my-app-configured", "-o", "jsonpath={.status.podIP}"]).ok();
    assert_eq!(exec("echo $POD_IP").trim(), address);
    contains(&page(&address).unwrap(), &["Ahoy from my-app v1 on my-app-configured"]);
    contains(&exec("env"), &["KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443"]);

    // A file of a ConfigMap follows it.
    let patch = r#"{"data":{"banner.txt":"Changed.\n"}}"#;
    berth.kubectl(&["patch", "configmap", "my-app", "-p", patch]).ok();
    eventually("the file changes", SOON * 2, || {
        let banner = exec("cat /etc/my-app/banner.txt");
        holds(banner == "Changed.\n", banner)
    });
}

#[test]
fn every_pod_gets_its_service_account() {
    let Some(berth) = cluster("containers::every_pod_gets_its_service_account") else { return };
    berth.apply(&busybox("own", "sleep infinity", ""));
    ready(&berth, "own");
    let cat = |file: &str| {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}");
        berth.kubectl(&["exec", "own", "--", "cat", &path]).ok()
    };
    assert_eq!(cat("namespace"), "default");
    contains(&cat("ca.crt"), &["-----BEGIN CERTIFICATE-----"]);
    let token = cat("token");
    // The token is good at the API server, for the account and no more.
    let mut whoami = berth.kubectl_command(&["--token", &token, "get", "pods", "-n", "kube-system"]);
    let config = std::fs::read_to_string(berth.data().join("kubeconfig")).unwrap();
    let anonymous: Vec<&str> = config.lines().filter(|line| !line.contains("client-")).collect();
    let own = berth.root().join("own.kubeconfig");
    std::fs::write(&own, anonymous.join("\n")).unwrap();
    let answer = berth_tests::run(whoami.env("KUBECONFIG", &own), "", SOON);
    contains(&answer.fails(), &["Forbidden", r#"User "system:serviceaccount:default:default" cannot list"#]);
}

#[test]
fn init_containers_prepare_what_the_others_share() {
    let Some(berth) = cluster("containers::init_containers_prepare_what_the_others_share") else { return };
    apply_example(&berth, "init-container.yaml");
    ready(&berth, "my-app-prepared");
    let exec = ["exec", "my-app-prepared", "-c", "reader", "--", "cat", "/work/prepared"];
    assert_eq!(berth.kubectl(&exec).ok(), "prepared by my-app-prepared\n");
    let log = berth.kubectl(&["logs", "my-app-prepared", "-c", "prepare"]).ok();
    assert_eq!(log, "prepared by my-app-prepared\n");
    let pods = berth.kubectl(&["get", "pods"]).ok();
    contains(&pods, &["2/2"]);
}

#[test]
fn projected_volumes_and_the_downward_api() {
    let Some(berth) = cluster("containers::projected_volumes_and_the_downward_api") else { return };
    berth.kubectl(&["create", "configmap", "settings", "--from-literal=colour=red"]).ok();
    berth.kubectl(&["create", "secret", "generic", "key", "--from-literal=password=s3cr3t"]).ok();
    let more = "    resources: {limits: {cpu: 250m, memory: 64Mi}}\n    volumeMounts: [{name: all, mountPath: /all}]\n  \
        volumes:\n  - name: all\n    projected:\n      sources:\n      - configMap: {name: settings}\n      \
        - secret: {name: key, items: [{key: password, path: deep/password}]}\n      \
        - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}, \
        {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory}}]}\n";
    berth.apply(&busybox("mixed", "sleep infinity", more));
    ready(&berth, "mixed");
    let script = "cd /all; for file in colour deep/password name memory; do cat $file; echo; done";
    let all = berth.kubectl(&["exec", "mixed", "--", "sh", "-c", script]).ok();
    assert_eq!(all, "red\ns3cr3t\nmixed\n67108864\n");
}

#[test]
fn probes_decide_readiness_and_restarts() {
    let Some(berth) = cluster("containers::probes_decide_readiness_and_restarts") else { return };
    apply_example(&berth, "probes.yaml");
    ready(&berth, "my-app-probed");
    berth.kubectl(&["exec", "my-app-probed", "--", "rm", "/tmp/alive"]).ok();
    eventually("the liveness probe restarts it", SOON, || {
        let status = berth.get(&["pod", "my-app-probed"])["status"]["containerStatuses"][0].clone();
        holds(status["restartCount"] == 1 && status["ready"] == true, status)
    });
    let described = berth.kubectl(&["describe", "pod", "my-app-probed"]).ok();
    contains(&described, &["Unhealthy", "Liveness probe failed", "will be restarted"]);

    let more = "    readinessProbe: {exec: {command: [test, -f, /tmp/ready]}, periodSeconds: 1}\n";
    berth.apply(&busybox("slow", "sleep infinity", more));
    let unready = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=ContainersNotReady";
    berth.kubectl(&["wait", unready, "pod/slow", "--timeout=60s"]).ok();
    eventually("it runs", SOON, || {
        let pod = berth.get(&["pod", "slow"]);
        holds(pod["status"]["phase"] == "Running", &pod["status"])
    });
    assert_eq!(berth.get(&["pod", "slow"])["status"]["containerStatuses"][0]["ready"], false);
    berth.kubectl(&["exec", "slow", "--", "touch", "/tmp/ready"]).ok();
    ready(&berth, "slow");
}
