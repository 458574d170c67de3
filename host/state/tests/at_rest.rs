//! How much room objects take while nothing happens: a hundred thousand pods are to fit beside everything else.
#![allow(clippy::unwrap_used)] // a test may

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_api::kinds;
use berth_api::views::Pod;
use berth_json::{Value, json};
use berth_state::{Draft, Key, Revision, Stored};

/// What a view may add to a pod at rest: less than a tenth.
const VIEW_BYTES_MAX: usize = 320;

/// The system's allocator, counting what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's allocator; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A running pod of a deployment, without its managedFields, which double it.
fn running(number: usize) -> Value {
    let time = "2026-11-21T10:45:13Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": time});
    let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    json!({
        "metadata": {
            "name": format!("web-5d4f8c7b9-{number:05}"), "generateName": "web-5d4f8c7b9-", "namespace": "default",
            "uid": format!("0f8fad5b-d9cb-469f-a165-{number:012}"), "creationTimestamp": time,
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9",
                "uid": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": format!("node-{}", number % 1_000), "serviceAccountName": "default", "priority": 0,
            "restartPolicy": "Always", "schedulerName": "default-scheduler", "dnsPolicy": "ClusterFirst",
            "containers": [{
                "name": "web", "image": "registry.example.com/web:v1.2.3", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "LEVEL", "value": "info"}],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"},
                },
                "volumeMounts": [{
                    "name": "kube-api-access-x2v7k", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                }],
            }],
            "tolerations": keys.map(toleration).to_vec(),
            "volumes": [{"name": "kube-api-access-x2v7k", "projected": {"sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            ]}}],
        },
        "status": {
            "phase": "Running", "podIP": "10.244.3.17", "podIPs": [{"ip": "10.244.3.17"}], "startTime": time,
            "conditions": kinds.map(condition).to_vec(),
            "containerStatuses": [{
                "name": "web", "ready": true, "restartCount": 0, "image": "registry.example.com/web:v1.2.3",
                "state": {"running": {"startedAt": time}},
            }],
        },
    })
}

#[test]
fn the_view_of_a_pod_is_small_beside_the_pod() {
    const PODS: usize = 1_000;
    let catalogue = kinds::catalogue();
    let resource = catalogue.named("pods").unwrap();
    let encode = |number| {
        let draft = Draft::encode(resource, &running(number), None).unwrap();
        Stored::new(Key::new("pods", "default", format!("web-{number}")), Revision(1), draft)
    };
    assert!(encode(0).view::<Pod>().unwrap().ready_since.is_some(), "what all share is there");
    let in_use = || IN_USE.load(Ordering::Relaxed);
    let before = in_use();
    let pods: Vec<Stored> = (1..=PODS).map(encode).collect();
    let at_rest = in_use();
    assert!(pods.iter().all(|pod| pod.view::<Pod>().is_some()));
    let (pod, view) = ((at_rest - before) / PODS, (in_use() - at_rest) / PODS);
    println!("{pod} bytes a pod, and {view} for its view");
    assert!(view <= VIEW_BYTES_MAX, "a view takes {view} bytes, beside the {pod} of a pod");
}
