//! Where a registry may send a node: a challenge's token server and a redirect's target are chosen by the registry, which
//! whoever makes a pod has chosen. So they lead to HTTPS, and not into the node itself or to the cloud's metadata, unless the
//! registry itself is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::plain;
use crate::registry::Endpoint;

/// Instance metadata outside of the link-local ranges: AWS' by IPv6, and Alibaba's.
const METADATA: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Network,
    Loopback,
    LinkLocal,
    /// Metadata, multicast, and what is no address of one host.
    Special,
}

fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    if address.is_loopback() || address.is_unspecified() {
        Reach::Loopback
    } else if is_link_local {
        Reach::LinkLocal
    } else if METADATA.contains(&address) || address.is_multicast() || is_broadcast {
        Reach::Special
    } else {
        Reach::Network
    }
}

/// What is known of the registry, and so of where it may send us.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    origin: Url,
    reach: Reach,
}

impl Bounds {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Bounds, String> {
        let origin = Url::parse(&endpoint.to_string()).map_err(|error| format!("{endpoint}: {error}"))?;
        let reach = literal_reach(&origin).unwrap_or(Reach::Network);
        Ok(Bounds { origin, reach })
    }

    /// Whether it is the registry itself: its credentials are for nobody else.
    pub(crate) fn is_registry(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }

    /// Whether it is on the registry's host: what is configured of its certificates holds there.
    pub(crate) fn is_on_host(&self, url: &Url) -> bool {
        url.host_str() == self.origin.host_str()
    }

    /// Whether a redirect may lead there. It gets no credentials, and what it sends is checked by its digest.
    pub(crate) fn check_redirect(&self, url: &Url) -> Result<(), String> {
        let is_plain = self.origin.scheme() == "http";
        self.check(url, is_plain)
    }

    /// Whether credentials may be sent there for a token.
    pub(crate) fn check_realm(&self, url: &Url) -> Result<(), String> {
        let is_near =
            self.is_on_host(url) || (self.reach == Reach::Loopback && literal_reach(url) == Some(self.reach));
        self.check(url, self.origin.scheme() == "http" && is_near)
    }

    fn check(&self, url: &Url, is_plain_allowed: bool) -> Result<(), String> {
        let to = shown(url);
        match url.scheme() {
            "https" => {}
            "http" if is_plain_allowed => {}
            _ => return Err(format!("the registry sends us to {to}, which is not HTTPS")),
        }
        match literal_reach(url) {
            Some(reach) if !self.allows(reach) && !self.is_on_host(url) => {
                Err(format!("the registry sends us to {to}, {INSIDE}"))
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, reach: Reach) -> bool {
        reach == Reach::Network || reach == self.reach
    }
}

const INSIDE: &str = "which is this machine itself, or an address that only it can reach";

/// The reach of a host that is written as an address, or called `localhost`.
fn literal_reach(url: &Url) -> Option<Reach> {
    let host = url.host_str()?;
    if host == "localhost" || host.ends_with(".localhost") {
        return Some(Reach::Loopback);
    }
    host.trim_start_matches('[').trim_end_matches(']').parse().ok().map(reach)
}

/// A URL fit for a message: without user and query, which may be secret (signed URLs of object stores).
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    plain(&format!("{}://{host}{port}{}", url.scheme(), url.path()))
}

/// Finds the addresses of names that a registry sends us to, and leaves out those that it may not.
pub(crate) struct Resolver(pub(crate) Arc<Bounds>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let bounds = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| bounds.allows(reach(address.ip()))).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address but such, {INSIDE}", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(scheme: &'static str, host: &str) -> Bounds {
        Bounds::new(&Endpoint { scheme, host: host.to_owned() }).unwrap()
    }

    #[test]
    fn a_registry_sends_nobody_into_the_node_or_to_plain_http() {
        let remote = bounds("https", "registry.example.com");
        let local = bounds("http", "127.0.0.1:5000");
        let lan = bounds("http", "10.0.0.1:5000");
        // Whether a redirect may lead there, and whether a password may be sent there for a token.
        for (from, to, redirect, realm) in [
            (&remote, "https://auth.example.com/token", true, true),
            (&remote, "https://10.1.2.3/blob", true, true),
            (&remote, "http://registry.example.com/token", false, false),
            (&remote, "http://auth.example.com/token", false, false),
            (&remote, "https://127.0.0.1:6443/", false, false),
            (&remote, "https://127.1/", false, false),
            (&remote, "https://2130706433/", false, false),
            (&remote, "https://0.0.0.0:6443/", false, false),
            (&remote, "https://[::1]/", false, false),
            (&remote, "https://[::ffff:127.0.0.1]/", false, false),
            (&remote, "https://localhost/", false, false),
            (&remote, "https://a.localhost/", false, false),
            (&remote, "https://169.254.169.254/latest/meta-data", false, false),
            (&remote, "https://[fe80::1]/", false, false),
            (&remote, "https://[fd00:ec2::254]/", false, false),
            (&remote, "https://100.100.100.200/", false, false),
            (&remote, "https://224.0.0.1/", false, false),
            (&remote, "ftp://registry.example.com/", false, false),
            (&local, "http://127.0.0.1:5001/token", true, true),
            (&local, "http://localhost:5001/token", true, true),
            (&local, "http://auth.example.com/token", true, false),
            (&local, "https://auth.example.com/token", true, true),
            (&local, "http://169.254.169.254/", false, false),
            (&lan, "http://10.0.0.1:5001/token", true, true),
            (&lan, "http://10.0.0.2/token", true, false),
            (&lan, "http://127.0.0.1/token", false, false),
        ] {
            let url = Url::parse(to).unwrap();
            assert_eq!(from.check_redirect(&url).is_ok(), redirect, "redirect from {} to {to}", from.origin);
            assert_eq!(from.check_realm(&url).is_ok(), realm, "token of {} from {to}", from.origin);
        }
        let own = Url::parse("https://registry.example.com:443/v2/x").unwrap();
        assert!(
            remote.is_registry(&own)
                && !remote.is_registry(&Url::parse("https://registry.example.com:444/").unwrap())
        );
    }

    #[tokio::test]
    async fn names_of_the_node_itself_are_not_resolved_for_a_registry_elsewhere() {
        let resolve = |bounds| Resolver(Arc::new(bounds)).resolve("localhost".parse().unwrap());
        let refused = resolve(bounds("https", "registry.example.com")).await.err().unwrap().to_string();
        assert!(refused.contains("this machine itself"), "{refused}");
        assert!(resolve(bounds("http", "127.0.0.1:5000")).await.is_ok());
    }

    #[test]
    fn shown_urls_keep_signatures_and_passwords_to_themselves() {
        let url = Url::parse("https://me:secret@store.example.com:8443/blob?X-Amz-Signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://store.example.com:8443/blob");
    }
}
