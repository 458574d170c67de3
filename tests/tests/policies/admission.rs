//! Admission policies.

use berth_tests::{Berth, Options, component, eventually, holds};

use super::{SOON, deploy, rolled_out};

const REFUSAL: &str = "admission policy \"image-policy\" denied the request: container c: the image i must have a tag other than \
                       latest, or a digest";

fn status(berth: &Berth, binding: &str) -> serde_json::Value {
    berth.get(&["pluginbinding", binding])["status"].clone()
}

#[test]
fn a_deployment_whose_pods_are_refused_says_why_and_goes_on_when_they_are_not() {
    let berth = Berth::start(Options::simulated(2));
    let swapped = berth.berth(&["plugin", "swap", "image-policy", "--failure-policy", "Fail"]).ok();
    assert_eq!(swapped, "admission as image-policy is served by plugin image-policy\n");
    deploy(&berth, "web", 2);
    eventually("its ReplicaSet tells the policy's sentence", SOON, || {
        let said = berth.kubectl(&["describe", "replicaset", "-l", "app=web"]).ok();
        holds(said.contains("FailedCreate") && said.contains(REFUSAL), said)
    });
    let refused = berth.kubectl(&["run", "c", "--image=i"]).fails();
    assert!(refused.starts_with("Error from server (Forbidden): "), "{refused}");
    assert!(refused.contains(REFUSAL), "{refused}");
    berth.kubectl(&["run", "named", "--image=i:1"]).ok();

    // Another configuration of the same component, and back to the one before.
    let tolerant = ["plugin", "swap", "image-policy", "--config", r#"{"allowLatest": true}"#];
    berth.berth(&tolerant).ok();
    rolled_out(&berth, "web");
    berth.berth(&["plugin", "rollback", "image-policy"]).ok();
    berth.kubectl(&["run", "other", "--image=i"]).fails();
    berth.berth(&["plugin", "unbind", "image-policy"]).ok();
    berth.kubectl(&["run", "other", "--image=i"]).ok();
}

#[test]
fn a_wrong_configuration_is_refused_with_all_that_is_wrong() {
    let berth = Berth::start(Options::simulated(1));
    let config = r#"{"allowedRegistries": [5], "requireDigests": true}"#;
    let refused = berth.berth(&["plugin", "swap", "image-policy", "--config", config]).fails();
    assert!(
        refused.contains("plugin image-policy: spec.config is not what the plugin takes: allowedRegistries[0]: Invalid value")
            && refused.contains("unknown field \"requireDigests\"; no plugin serves admission as image-policy"),
        "{refused}"
    );
    berth.kubectl(&["run", "other", "--image=i"]).ok();
    let refused = berth.kubectl(&[
        "patch",
        "pluginbinding",
        "image-policy",
        "--type=merge",
        "-p",
        r#"{"spec":{"profile":"p"}}"#,
    ]);
    let refused = refused.fails();
    assert!(refused.contains("spec.profile: Forbidden: an admission policy has no profile"), "{refused}");
}

#[test]
fn policies_change_objects_and_fail_as_their_bindings_say() {
    let mut berth = Berth::start(Options::simulated(1));
    berth.berth(&["plugin", "swap", "limits-defaulter"]).ok();
    let label = r#"{"resources": [{"resource": "pods"}], "defaults": {"team": "a"}}"#;
    berth.berth(&["plugin", "swap", "label-policy", "--config", label, "--order", "-1"]).ok();
    berth.kubectl(&["run", "c", "--image=i:1"]).ok();
    let pod = berth.get(&["pod", "c"]);
    assert_eq!(pod["metadata"]["labels"]["team"], "a");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["memory"], "128Mi");

    let hostile = component("tests/policies/hostile-admission");
    berth.berth(&["plugin", "install", hostile.to_str().unwrap(), "--name", "hostile"]).ok();
    for (fault, failure_policy, says) in [
        ("loop", "Fail", "gave no verdict: the policy used more than its 100 ms for one call"),
        ("rename", "Fail", "its patch changes metadata.name, which is the server's"),
        ("code-200", "Fail", "200 is no status of a refusal, which are 400 to 499"),
        // What a policy makes of an object is validated as if a client had sent it.
        ("invalid", "Fail", "spec.containers: Required value"),
        ("grow", "Fail", "metadata.annotations: Too long"),
        ("long-words", "Fail", "denied the request: m m m m"),
    ] {
        let config = format!("{fault:?}");
        let swap = ["plugin", "swap", "hostile", "--config", &config, "--failure-policy", failure_policy];
        berth.berth(&swap).ok();
        let said = berth.kubectl(&["run", "never", "--image=i:1"]).fails();
        assert!(said.contains(says), "{fault}: {said}");
        assert!(said.len() < 3_000, "{fault}: {} bytes of words", said.len());
    }
    let mild = ["plugin", "swap", "hostile", "--config", "\"panic\"", "--failure-policy", "Ignore"];
    berth.berth(&mild).ok();
    let run = berth.kubectl(&["run", "mild", "--image=i:1"]);
    assert!(run.stderr.contains("Warning: admission policy \"hostile\" gave no verdict: "), "{run:?}");
    run.ok();

    // A policy that refused everything cannot keep anybody from unbinding it, and is no gap while it does not run.
    berth.berth(&["plugin", "swap", "hostile", "--config", "\"code-200\"", "--failure-policy", "Fail"]).ok();
    berth.kill_9();
    berth.up();
    for _ in 0..5 {
        berth.kubectl(&["run", "never", "--image=i:1"]).fails();
    }
    eventually("it serves again", SOON, || {
        let status = status(&berth, "hostile");
        holds(status["activePlugin"] == "hostile", status)
    });
    berth.berth(&["plugin", "unbind", "hostile"]).ok();
    berth.kubectl(&["run", "at-last", "--image=i:1"]).ok();
}
