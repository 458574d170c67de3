//! Custom kinds: definitions as large projects have them, their objects, and what becomes of both.

use berth_tests::{Berth, eventually, holds, repository};
use serde_json::json;
use std::time::Duration;

use crate::{cluster, contains, row, words};

const SOON: Duration = Duration::from_secs(60);

const CERTIFICATE: &str = "
apiVersion: certs.example.com/v1
kind: Certificate
metadata: {name: web}
spec: {secretName: web-tls, issuerRef: {name: ca}, dnsNames: [web.example], privateKey: {}}
";

/// Applies a definition of the three large ones, in this way, and waits until its kind is served.
fn define(berth: &Berth, name: &str, flags: &[&str]) {
    let file = repository().join(format!("host/custom/tests/data/{name}.yaml"));
    let apply = [&["apply", "-f", file.to_str().unwrap()], flags].concat();
    contains(&berth.kubectl(&apply).ok(), &["customresourcedefinition.apiextensions.k8s.io/"]);
    let file = file.to_str().unwrap();
    berth.kubectl(&["wait", "--for=condition=Established", "-f", file, "--timeout=60s"]).ok();
}

#[test]
fn large_definitions_are_applied_explained_and_listed() {
    let berth = cluster();
    define(&berth, "certificates", &[]);
    define(&berth, "prometheuses", &["--server-side"]);
    define(&berth, "workflows", &["--server-side"]);
    let again = berth.kubectl(&["get", "crd", "--no-headers"]).ok();
    assert_eq!(again.lines().count(), 3, "{again}");

    let explained = berth.kubectl(&["explain", "prometheus.spec.replicas"]).ok();
    contains(&explained, &["GROUP:      monitors.example.com", "FIELD: replicas <integer>"]);
    let explained = berth.kubectl(&["explain", "certificates.spec", "--recursive"]).ok();
    contains(&explained, &["issuerRef\t<Object> -required-", "enum: "]);
    contains(&berth.kubectl(&["api-resources", "--categories=certs"]).ok(), &["cert,certs"]);

    assert_eq!(berth.apply(CERTIFICATE), "certificate.certs.example.com/web created\n");
    assert_eq!(berth.apply(CERTIFICATE), "certificate.certs.example.com/web unchanged\n");
    let table = berth.kubectl(&["get", "cert"]).ok();
    assert_eq!(words(table.lines().next().unwrap())[..4], ["NAME", "READY", "SECRET", "AGE"], "{table}");
    assert_eq!(row(&table, "web")[..2], ["web", "web-tls"], "{table}");
    let web = berth.get(&["cert", "web"]);
    assert_eq!(web["spec"]["privateKey"]["rotationPolicy"], "Always", "defaults of the schema");
    let picked = ["get", "certs", "-o", "name", "--field-selector"];
    let by_issuer = |issuer: &str| {
        berth.kubectl(&[&picked[..], &[&format!("spec.issuerRef.name={issuer}")]].concat()).ok()
    };
    assert_eq!(by_issuer("ca"), "certificate.certs.example.com/web\n");
    assert_eq!(by_issuer("other"), "");

    // What the schema, its rules, and strict clients refuse.
    let refused = berth.kubectl_with(&["apply", "-f", "-"], &CERTIFICATE.replace("dnsNames:", "usagess:"));
    contains(&refused.fails(), &["unknown field \"spec.usagess\""]);
    let patch = json!({"spec": {"renewBefore": "1h", "renewBeforePercentage": 5}}).to_string();
    let refused = berth.kubectl(&["patch", "cert", "web", "--type=merge", "-p", &patch]).fails();
    contains(
        &refused,
        &["spec.renewBefore: Forbidden: renewBefore and renewBeforePercentage are mutually exclusive"],
    );
    let patch = json!({"spec": {"secretName": "other"}}).to_string();
    let refused = berth.kubectl(&["patch", "cert", "web", "--type=merge", "-p", &patch]).fails();
    contains(&refused, &["the secret stays"]);
}

#[test]
fn objects_outlive_a_crash_and_go_with_their_definition() {
    let mut berth = cluster();
    define(&berth, "certificates", &[]);
    berth.apply(CERTIFICATE);
    berth.kubectl(&["create", "namespace", "other"]).ok();
    berth.kubectl_with(&["apply", "-n", "other", "-f", "-"], CERTIFICATE).ok();
    berth.kill_9();
    berth.up();
    let names = berth.kubectl(&["get", "certificates", "-A", "-o", "name"]).ok();
    assert_eq!(names.lines().count(), 2, "{names}");
    let applied =
        berth.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], CERTIFICATE).ok();
    contains(&applied, &["serverside-applied"]);

    // A namespace takes its custom objects along.
    berth.kubectl(&["delete", "namespace", "other", "--timeout=60s"]).ok();
    let names = berth.kubectl(&["get", "certificates", "-A", "-o", "name"]).ok();
    assert_eq!(names, "certificate.certs.example.com/web\n");

    // An object that somebody holds keeps its definition, which takes no new ones meanwhile.
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}}).to_string();
    berth.kubectl(&["patch", "cert", "web", "--type=merge", "-p", &hold]).ok();
    berth.kubectl(&["delete", "crd", "certificates.certs.example.com", "--wait=false"]).ok();
    eventually("the object is marked", SOON, || {
        let web = berth.get(&["cert", "web"]);
        holds(web["metadata"]["deletionTimestamp"].is_string(), web)
    });
    let refused =
        berth.kubectl_with(&["create", "-f", "-"], &CERTIFICATE.replace("name: web}", "name: late}"));
    contains(&refused.fails(), &["create not allowed while custom resource definition is terminating"]);
    let all = "/apis/certs.example.com/v1/certificates?watch=true";
    let mut watch = berth.kubectl_beside(&["get", "--raw", all]);
    eventually("the watch has begun", SOON, || holds(!watch.lines().is_empty(), "nothing"));
    let release = json!({"metadata": {"finalizers": null}}).to_string();
    berth.kubectl(&["patch", "cert", "web", "--type=merge", "-p", &release]).ok();
    eventually("the definition is gone", SOON, || {
        let left = berth.kubectl(&["get", "crd", "-o", "name"]).ok();
        holds(left.is_empty(), left)
    });
    eventually("the watch ends with its kind", SOON, || holds(watch.has_ended(), watch.lines().join("\n")));
    contains(&watch.lines().join("\n"), &["\"type\":\"DELETED\""]);
    contains(&berth.kubectl(&["get", "certificates"]).fails(), &["certificates"]);

    // The same kind again begins empty.
    define(&berth, "certificates", &[]);
    assert_eq!(berth.kubectl(&["get", "certificates", "-A", "-o", "name"]).ok(), "");
}

#[test]
fn a_definition_cannot_take_the_names_of_another_kind() {
    let berth = cluster();
    let definition = |plural: &str, short: &str| {
        let name = format!("{plural}.berth.dev");
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {
                "group": "berth.dev", "scope": "Namespaced",
                "names": {"plural": plural, "kind": format!("X{plural}"), "shortNames": [short]},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
        .to_string()
    };
    for (plural, short, reason) in
        [("plugins", "x", "PluralConflict"), ("things", "plug", "ShortNamesConflict")]
    {
        berth.apply(&definition(plural, short));
        let name = format!("{plural}.berth.dev");
        eventually("the conflict is told", SOON, || {
            let crd = berth.get(&["crd", &name]);
            let accepted = crd["status"]["conditions"].as_array().into_iter().flatten();
            let mut accepted = accepted.filter(|condition| condition["type"] == "NamesAccepted");
            holds(accepted.any(|condition| condition["reason"] == reason), crd)
        });
    }
    // Those of this build are as they were.
    berth.kubectl(&["get", "plugins"]).ok();
    contains(&berth.kubectl(&["api-resources", "--api-group=berth.dev"]).ok(), &["PluginBinding"]);
    berth.kubectl(&["delete", "crd", "--all", "--timeout=60s"]).ok();
}
