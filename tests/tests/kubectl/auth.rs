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
    assert_eq!(
        can(&["get", "nodes", "--as=system:node:simulated-00001", "--as-group=system:nodes"]),
        "yes\n"
    );
    assert_eq!(
        can(&["delete", "nodes", "--as=system:node:simulated-00001", "--as-group=system:nodes"]),
        "no\n"
    );
    assert_eq!(can(&["list", "pods", "--as=system:serviceaccount:default:default"]), "no\n");
    let all = can(&["--list"]);
    assert!(all.lines().any(|line| words(line) == ["*.*", "[]", "[]", "[*]"]), "{all}");

    let refused = berth.kubectl(&["get", "pods", "--as=jane"]).fails();
    contains(
        &refused,
        &[r#"User "jane" cannot list resource "pods" in API group "" in the namespace "default""#],
    );
}
