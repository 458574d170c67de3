//! Who one is, what one may do, and doing as somebody else.

use crate::{cluster, contains, words};

#[test]
fn kubectl_tells_who_may_do_what() {
    let berth = cluster();
    let who = berth.kubectl(&["auth", "whoami"]).ok();
    contains(&who, &["kubernetes-admin", "system:masters"]);
    let can = |args: &[&str]| berth.kubectl(&[&["auth", "can-i"], args].concat()).stdout;
    assert_eq!(can(&["create", "deployments"]), "yes\n");
    assert_eq!(can(&["*", "*"]), "yes\n");
    for (verb, node, answer) in [
        ("get", "nodes/simulated-00001", "yes\n"),
        ("get", "nodes/simulated-00002", "no\n"),
        ("delete", "nodes/simulated-00001", "no\n"),
    ] {
        let as_node = ["--as=system:node:simulated-00001", "--as-group=system:nodes"];
        assert_eq!(can(&[&[verb, node], &as_node[..]].concat()), answer, "{verb} {node}");
    }
    assert_eq!(can(&["list", "pods", "--as=system:serviceaccount:default:default"]), "no\n");
    let all = can(&["--list"]);
    assert!(all.lines().any(|line| words(line) == ["*.*", "[]", "[]", "[*]"]), "{all}");

    let refused = berth.kubectl(&["get", "pods", "--as=jane"]).fails();
    contains(
        &refused,
        &[r#"User "jane" cannot list resource "pods" in API group "" in the namespace "default""#],
    );
}
