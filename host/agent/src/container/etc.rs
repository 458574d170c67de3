//! The files in `/etc` that a pod's containers get: `hosts`, `hostname`, `resolv.conf`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::manifest::{DnsOption, Pod};

/// Where the files are on the node.
#[derive(Debug, Clone)]
pub(crate) struct EtcFiles {
    pub(crate) hosts: PathBuf,
    pub(crate) hostname: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

impl EtcFiles {
    pub(crate) fn of(pod_directory: &Path) -> EtcFiles {
        let file = |name: &str| pod_directory.join("etc").join(name);
        EtcFiles { hosts: file("hosts"), hostname: file("hostname"), resolv_conf: file("resolv.conf") }
    }

    /// Writes them anew: in place, because containers have the files themselves mounted. What the pod's owner has to
    /// know about them comes back.
    pub(crate) fn write(&self, pod: &Pod, pod_ip: Option<IpAddr>) -> io::Result<Vec<Notice>> {
        if let Some(directory) = self.hosts.parent() {
            fs::create_dir_all(directory)?;
        }
        let node_hosts = if pod.spec.host_network {
            fs::read_to_string("/etc/hosts").unwrap_or_default()
        } else {
            String::new()
        };
        let (resolv_conf, notices) = resolv_conf(pod, &node_resolv_conf());
        let texts = [
            (&self.hosts, hosts(pod, pod_ip, &node_hosts)),
            (&self.hostname, format!("{}\n", hostname(pod))),
            (&self.resolv_conf, resolv_conf),
        ];
        for (path, text) in texts {
            fs::write(path, text)?;
            // For every user of a container, whatever the node's umask.
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(notices)
    }
}

/// Something about a pod's name resolution that its owner should know: the reason and the text of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The node's own configuration.
fn node_resolv_conf() -> String {
    /// Where systemd-resolved lists the servers that it asks itself.
    const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
    let own = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    match only_loopback(&own) {
        true => fs::read_to_string(RESOLVED).unwrap_or(own),
        false => own,
    }
}

/// Whether all its servers are on the node's loopback, where a pod cannot reach them.
fn only_loopback(resolv_conf: &str) -> bool {
    let servers = || resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let is_loopback =
        |server: &str| server.trim().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    servers().next().is_some() && servers().all(is_loopback)
}

/// The host name that the pod's containers see.
pub(crate) fn hostname(pod: &Pod) -> String {
    if pod.spec.host_network {
        return fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    }
    match full_name(pod) {
        Some(full) if pod.spec.set_hostname_as_fqdn => full,
        _ => pod.hostname().to_owned(),
    }
}

/// The pod's name under its subdomain.
fn full_name(pod: &Pod) -> Option<String> {
    /// The cluster's domain, as everybody has it who did not choose another.
    const DOMAIN: &str = "cluster.local";
    let (subdomain, namespace) = (&pod.spec.subdomain, &pod.metadata.namespace);
    (!subdomain.is_empty()).then(|| format!("{}.{subdomain}.{namespace}.svc.{DOMAIN}", pod.hostname()))
}

fn hosts(pod: &Pod, pod_ip: Option<IpAddr>, node_hosts: &str) -> String {
    let mut text = if pod.spec.host_network {
        format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}")
    } else {
        let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            .to_owned();
        if let Some(ip) = pod_ip {
            let full = full_name(pod).map(|full| format!("{full}\t")).unwrap_or_default();
            text.push_str(&format!("{ip}\t{full}{}\n", pod.hostname()));
        }
        text
    };
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in &pod.spec.host_aliases {
            text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
        }
    }
    text
}

/// Servers that resolvers ask: what is beyond them, they ignore (`MAXNS` of resolv.h).
const SERVERS_MAX: usize = 3;
/// Search domains of a pod: the API's limit.
const SEARCHES_MAX: usize = 32;

/// As long as the cluster has no DNS of its own, `ClusterFirst` means the node's servers.
fn resolv_conf(pod: &Pod, node: &str) -> (String, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut servers = Vec::new();
    let mut searches = Vec::new();
    let mut options: Vec<String> = Vec::new();
    if wants_cluster_dns(pod) {
        notices.push(missing_cluster_dns(pod));
    }
    if pod.spec.dns_policy != "None" {
        for line in node.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().map(str::to_owned)),
                Some("search") => searches = words.map(str::to_owned).collect(),
                Some("options") => options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
    }
    let extra = &pod.spec.dns_config;
    servers.extend(extra.nameservers.iter().cloned());
    searches.extend(extra.searches.iter().cloned());
    for DnsOption { name, value } in &extra.options {
        options.retain(|option| option.split(':').next() != Some(name));
        options.push(value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")));
    }
    if keep_first(&mut servers, SERVERS_MAX) {
        let what = "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is:";
        notices.push(Notice { reason: "DNSConfigForming", message: format!("{what} {}", servers.join(" ")) });
    }
    if keep_first(&mut searches, SEARCHES_MAX) {
        let what = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is:";
        notices
            .push(Notice { reason: "DNSConfigForming", message: format!("{what} {}", searches.join(" ")) });
    }
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (word, list) in [("search", searches), ("options", options)] {
        if !list.is_empty() {
            text.push_str(&format!("{word} {}\n", list.join(" ")));
        }
    }
    (text, notices)
}

/// Drops what is there twice, and what is too much; whether there was too much.
fn keep_first(list: &mut Vec<String>, max: usize) -> bool {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
    let is_over = list.len() > max;
    list.truncate(max);
    is_over
}

/// On the node's network, `ClusterFirst` means the node's servers anyway.
fn wants_cluster_dns(pod: &Pod) -> bool {
    match pod.spec.dns_policy.as_str() {
        "" | "ClusterFirst" => !pod.spec.host_network,
        policy => policy == "ClusterFirstWithHostNet",
    }
}

fn missing_cluster_dns(pod: &Pod) -> Notice {
    let message = format!(
        "pod: \"{}\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. \
         Falling back to \"Default\" policy.",
        pod.display()
    );
    Notice { reason: "MissingClusterDNS", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        Pod::from_value(json!({ "metadata": { "name": "web-0", "namespace": "n" }, "spec": spec })).unwrap()
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let alias = json!({ "ip": "10.0.0.9", "hostnames": ["a", "b"] });
        let text = hosts(
            &pod(json!({ "subdomain": "web", "hostAliases": [alias] })),
            Some([10, 1, 0, 2].into()),
            "",
        );
        assert!(text.contains("10.1.0.2\tweb-0.web.n.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n10.0.0.9\ta\tb\n"), "{text}");
    }

    #[test]
    fn dns_follows_policy_and_configuration() {
        let node = "# x\nnameserver 1.1.1.1\nsearch a b\noptions ndots:2 edns0\n";
        let config = json!({ "nameservers": ["9.9.9.9"], "searches": ["c"], "options": [{ "name": "ndots", "value": "5" }] });
        let resolv_conf = |spec: Value| resolv_conf(&pod(spec), node);
        let (text, notices) = resolv_conf(json!({ "dnsPolicy": "Default", "dnsConfig": config }));
        assert_eq!(text, "nameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch a b c\noptions edns0 ndots:5\n");
        assert_eq!(notices, []);
        let (text, notices) = resolv_conf(json!({ "dnsPolicy": "None", "dnsConfig": config }));
        assert_eq!((text.as_str(), notices), ("nameserver 9.9.9.9\nsearch c\noptions ndots:5\n", vec![]));
    }

    #[test]
    fn without_a_cluster_dns_a_pod_gets_the_nodes_and_is_told() {
        let node = "nameserver 1.1.1.1\n";
        let of = |spec: Value| resolv_conf(&pod(spec), node);
        for (spec, told) in [
            (json!({}), true),
            (json!({ "dnsPolicy": "ClusterFirst" }), true),
            (json!({ "dnsPolicy": "ClusterFirst", "hostNetwork": true }), false),
            (json!({ "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true }), true),
            (json!({ "dnsPolicy": "Default" }), false),
        ] {
            let (text, notices) = of(spec.clone());
            assert_eq!((text.as_str(), notices.len()), (node, usize::from(told)), "{spec}");
        }
        let (_, notices) = of(json!({}));
        assert_eq!(notices[0].reason, "MissingClusterDNS");
        assert!(notices[0].message.starts_with("pod: \"web-0_n()\". kubelet does not have ClusterDNS IP"));
    }

    #[test]
    fn servers_beyond_the_third_are_omitted_and_named() {
        let config = json!({ "nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"] });
        let pod = pod(json!({ "dnsPolicy": "Default", "dnsConfig": config }));
        let (text, notices) = resolv_conf(&pod, "nameserver 1.1.1.1\n");
        assert_eq!(text, "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n");
        assert!(notices[0].message.ends_with("nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3"), "{notices:?}");
    }

    #[test]
    fn a_stub_resolver_is_no_use_to_a_pod() {
        assert!(only_loopback("# x\nnameserver 127.0.0.53\n"));
        assert!(!only_loopback("nameserver 127.0.0.53\nnameserver 9.9.9.9\n"));
        assert!(!only_loopback(""));
    }
}
