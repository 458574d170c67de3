//! Where a resource is served.

/// A resource's place in the API: what makes up its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiResource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Lower-case plural.
    pub plural: &'static str,
}

impl ApiResource {
    /// `configmaps` of `v1`.
    pub const CONFIG_MAPS: Self = Self::core("configmaps");
    /// `events` of `v1`.
    pub const EVENTS: Self = Self::core("events");
    /// `namespaces` of `v1`.
    pub const NAMESPACES: Self = Self::core("namespaces");
    /// `nodes` of `v1`.
    pub const NODES: Self = Self::core("nodes");
    /// `pods` of `v1`.
    pub const PODS: Self = Self::core("pods");
    /// `secrets` of `v1`.
    pub const SECRETS: Self = Self::core("secrets");
    /// `serviceaccounts` of `v1`.
    pub const SERVICE_ACCOUNTS: Self = Self::core("serviceaccounts");
    /// `services` of `v1`.
    pub const SERVICES: Self = Self::core("services");
    /// `deployments` of `apps/v1`.
    pub const DEPLOYMENTS: Self = Self { group: "apps", version: "v1", plural: "deployments" };
    /// `replicasets` of `apps/v1`.
    pub const REPLICA_SETS: Self = Self { group: "apps", version: "v1", plural: "replicasets" };
    /// `leases` of `coordination.k8s.io/v1`.
    pub const LEASES: Self = Self { group: "coordination.k8s.io", version: "v1", plural: "leases" };
    /// `plugins` of `berth.dev/v1alpha1`.
    pub const PLUGINS: Self = Self { group: "berth.dev", version: "v1alpha1", plural: "plugins" };
    /// `pluginbindings` of `berth.dev/v1alpha1`.
    pub const PLUGIN_BINDINGS: Self =
        Self { group: "berth.dev", version: "v1alpha1", plural: "pluginbindings" };

    /// A resource of the core group's `v1`.
    pub const fn core(plural: &'static str) -> Self {
        Self { group: "", version: "v1", plural }
    }

    /// `/api/v1/namespaces/default/pods`, or without the namespace when it is empty.
    pub fn path(&self, namespace: &str) -> String {
        let mut path = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if !namespace.is_empty() {
            path.push_str("/namespaces/");
            push_escaped(&mut path, namespace);
        }
        path.push('/');
        path.push_str(self.plural);
        path
    }

    /// The path of one object, or with `subresource` not empty of that part of it.
    pub fn path_of(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = self.path(namespace);
        path.push('/');
        push_escaped(&mut path, name);
        if !subresource.is_empty() {
            path.push('/');
            path.push_str(subresource);
        }
        path
    }
}

/// Appends `text` percent-encoded, as a path segment or query value: all but RFC 3986's unreserved characters.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ApiResource;

    #[test]
    fn paths() {
        assert_eq!(ApiResource::PODS.path("a"), "/api/v1/namespaces/a/pods");
        assert_eq!(ApiResource::DEPLOYMENTS.path(""), "/apis/apps/v1/deployments");
        assert_eq!(ApiResource::NODES.path_of("", "n/1", "status"), "/api/v1/nodes/n%2F1/status");
    }
}
