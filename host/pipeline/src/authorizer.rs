//! Three roles: administrator, node, service account; and how a refusal is worded.

mod uses;

use berth_api::status::Details;
use berth_api::{Reason, Status};
use berth_state::{Key, State};

use crate::identity::{Attributes, Authorizer, Decision, Identity, PathRule, ResourceRule, Rules, Verb};
use uses::Used;

const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

/// The reviews that are about whoever posts them, by group.
const SELF_REVIEWS: [(&str, &[&str]); 2] = [
    ("authentication.k8s.io", &["selfsubjectreviews"]),
    ("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
];

const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// How tokens of service accounts are checked; shown to those who have one, as by RBAC's defaults.
const ISSUER_DOCUMENTS: [&str; 2] = ["/.well-known/openid-configuration", "/openid/v1/jwks"];
/// What load balancers and `kubectl version` ask before they know who they are.
const PUBLIC_PATHS: [&str; 8] =
    ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"];

/// What clients ask to learn what the server has, as the role `system:discovery` allows it.
const DISCOVERY_PATHS: [&str; 6] = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];

const NODE_PREFIX: &str = "system:node:";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The authorizer of the first days, before RBAC: the group decides.
///
/// - `system:masters`: everything.
/// - `system:nodes` as `system:node:<name>`: its own Node and its Lease; the pods bound to it, with their status, which it
///   finds by the field selector `spec.nodeName`; the secrets, config maps and service accounts (with tokens) those pods
///   use, by name; events to write; services to list and watch. What it may write there, NodeRestriction says.
/// - Everybody else, service accounts included: nothing but discovery and reviews of themselves, as under RBAC without
///   bindings.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoleAuthorizer;

impl Authorizer for RoleAuthorizer {
    fn authorize(&self, state: &State, asked: &Attributes<'_>) -> Decision {
        if asked.identity.in_group(MASTERS) {
            return Decision::Allow;
        }
        let allowed = reviews_itself(asked)
            || node_name(asked.identity).is_some_and(|node| node_may(state, node, asked));
        decision(allowed)
    }

    fn authorize_unserved(&self, identity: &Identity) -> Decision {
        decision(identity.in_group(MASTERS))
    }

    /// Discovery is for everybody whom the server knows, and a little for nobody in particular; the rest (`/metrics`,
    /// `/logs`, `/debug`) is the administrator's.
    fn authorize_path(&self, identity: &Identity, verb: &str, path: &str) -> Decision {
        let shown = is_one_of(&PUBLIC_PATHS, path)
            || (identity.in_group(AUTHENTICATED) && is_one_of(&DISCOVERY_PATHS, path))
            || (identity.in_group(SERVICE_ACCOUNTS)
                && ISSUER_DOCUMENTS.contains(&path.trim_end_matches('/')));
        decision(identity.in_group(MASTERS) || (verb == "get" && shown))
    }

    fn rules(&self, identity: &Identity, _: &str) -> Rules {
        let mut rules = Rules::default();
        if identity.in_group(MASTERS) {
            rules.resources.push(ResourceRule { verbs: vec!["*"], group: "*", resources: vec!["*"] });
            rules.paths.push(PathRule { verbs: vec!["*"], paths: vec!["*"] });
        }
        if identity.in_group(AUTHENTICATED) {
            rules.resources.extend(SELF_REVIEWS.map(|(group, resources)| ResourceRule {
                verbs: vec!["create"],
                group,
                resources: resources.to_vec(),
            }));
            let paths = PUBLIC_PATHS.into_iter().chain(DISCOVERY_PATHS).collect();
            rules.paths.push(PathRule { verbs: vec!["get"], paths });
        }
        if node_name(identity).is_some() {
            rules.incomplete = "node authorizer does not support user rule resolution";
        }
        rules
    }
}

fn decision(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny(String::new()) }
}

/// Whether a path is one of those, of which some stand for all that begins with them.
fn is_one_of(paths: &[&str], path: &str) -> bool {
    paths.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == *known,
    })
}

/// Everybody whom the server knows may ask about himself.
fn reviews_itself(asked: &Attributes<'_>) -> bool {
    let Attributes { identity, verb, resource, .. } = asked;
    let is_self_review = SELF_REVIEWS
        .iter()
        .any(|(group, plurals)| resource.group == *group && plurals.contains(&resource.plural.as_str()));
    *verb == Verb::Create && is_self_review && identity.in_group(AUTHENTICATED)
}

/// The node that an identity is, if it is one.
pub(crate) fn node_name(identity: &Identity) -> Option<&str> {
    let is_node = identity.in_group("system:nodes");
    identity.user.strip_prefix(NODE_PREFIX).filter(|name| is_node && !name.is_empty())
}

fn node_may(state: &State, node: &str, asked: &Attributes<'_>) -> bool {
    let reads = matches!(asked.verb, Verb::Get | Verb::List | Verb::Watch);
    let writes = matches!(asked.verb, Verb::Create | Verb::Update | Verb::Patch);
    let is_own = asked.name == node;
    // On create the name is in the body: admission looks at it.
    let is_own_or_new = is_own || (asked.verb == Verb::Create && asked.name.is_empty());
    match (&*asked.resource.id, asked.subresource) {
        ("nodes", "") => (reads && is_own) || (writes && is_own_or_new),
        ("nodes", "status") => writes && is_own,
        ("leases.coordination.k8s.io", "") => {
            asked.namespace == LEASE_NAMESPACE
                && is_own_or_new
                && (writes || matches!(asked.verb, Verb::Get | Verb::Delete))
        }
        ("services", "") => reads,
        ("events", "") => writes,
        ("pods", "") => match asked.verb {
            // One that is bound elsewhere meanwhile must drop out: only the selector sees to that.
            Verb::List | Verb::Watch => asked.fields.is_some_and(|f| f.pinned("spec.nodeName") == Some(node)),
            Verb::Get | Verb::Delete => runs_on(state, node, asked),
            _ => false,
        },
        ("pods", "status") => (reads || writes) && runs_on(state, node, asked),
        ("secrets", "") => reads && uses::pods_use(state, node, asked, Used::Secret),
        ("configmaps", "") => reads && uses::pods_use(state, node, asked, Used::ConfigMap),
        ("serviceaccounts", "") => reads && uses::pods_use(state, node, asked, Used::ServiceAccount),
        ("serviceaccounts", "token") => {
            asked.verb == Verb::Create && uses::pods_use(state, node, asked, Used::ServiceAccount)
        }
        _ => false,
    }
}

/// Whether the pod asked about is bound to the node. One that is gone is not refused: 404 says more, and no less.
fn runs_on(state: &State, node: &str, asked: &Attributes<'_>) -> bool {
    let pod = state.get(&Key::new(asked.resource.id.clone(), asked.namespace, asked.name));
    pod.is_none_or(|pod| pod.field("spec.nodeName") == Some(node))
}

/// Asks the authorizer, and words its refusal as the API server does.
pub fn check(authorizer: &dyn Authorizer, state: &State, asked: &Attributes<'_>) -> Result<(), Status> {
    match authorizer.authorize(state, asked) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) => Err(forbidden(asked, &reason)),
    }
}

/// Asks the authorizer about a path that is none of a resource, and words its refusal as the API server does.
pub fn check_path(
    authorizer: &dyn Authorizer,
    identity: &Identity,
    verb: &str,
    path: &str,
) -> Result<(), Status> {
    match authorizer.authorize_path(identity, verb, path) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) => {
            let colon = if reason.is_empty() { "" } else { ": " };
            let message =
                format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"{colon}{reason}", identity.user);
            Err(Status { details: Some(Box::default()), ..Status::new(Reason::Forbidden, message) })
        }
    }
}

fn forbidden(asked: &Attributes<'_>, reason: &str) -> Status {
    let (resource, name) = (asked.resource, asked.name);
    let object = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let subresource = if asked.subresource.is_empty() { "" } else { "/" };
    let place = match asked.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let mut message = format!(
        "{}{object} is forbidden: User \"{}\" cannot {} resource \"{}{subresource}{}\" in API group \"{}\" {place}",
        resource.qualified(),
        asked.identity.user,
        asked.verb.as_str(),
        resource.plural,
        asked.subresource,
        resource.group,
    );
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    let details = Details {
        name: name.to_owned(),
        group: resource.group.clone(),
        kind: resource.plural.clone(),
        ..Details::default()
    };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Forbidden, message) }
}
