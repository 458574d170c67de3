//! Which writes concern a policy.

use berth_api::Selector;
use berth_json::Value;

use crate::contract::{Operation, Rule};

/// Rules of a policy: each is looked at for every write.
const RULES_MAX: usize = 64;
/// Bytes of all their texts: they stand in the binding's status.
const RULES_BYTES_MAX: usize = 64 << 10;

/// What no policy is asked about, so that a cluster that a policy has locked can be opened again: plugins and bindings; what
/// tells who leads and which nodes are alive. (Group, plural, sub-resource; `*` for any.)
const EXEMPT: [(&str, &str, &str); 4] = [
    ("berth.dev", "*", "*"),
    ("coordination.k8s.io", "leases", "*"),
    ("", "nodes", "status"),
    ("", "pods", "binding"),
];

/// Why rules mean nothing. One sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(String);

/// Names and values, made when they are asked for, which few rules do.
pub type NamespaceLabels<'a> = &'a dyn Fn() -> Option<Vec<(String, String)>>;

/// A write, as far as rules look at it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What is done.
    pub operation: Operation,
    /// API group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub sub_resource: &'a str,
    /// Empty for objects that are in none.
    pub namespace: &'a str,
    /// The labels of the namespace; of a namespace its own. `None` for other objects that are in none.
    pub namespace_labels: NamespaceLabels<'a>,
    /// The object and the old one, as far as they are there.
    pub objects: [Option<&'a Value>; 2],
}

/// Rules that can be matched.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Matcher>);

#[derive(Clone, Debug)]
struct Matcher {
    rule: Rule,
    selector: Option<Selector>,
    namespace_selector: Option<Selector>,
}

/// Whether no policy is asked about a resource.
pub fn is_exempt(group: &str, resource: &str, sub_resource: &str) -> bool {
    let is = |pattern: &str, name: &str| pattern == "*" || pattern == name;
    EXEMPT.iter().any(|&(g, r, s)| g == group && is(r, resource) && is(s, sub_resource))
}

impl Rules {
    /// Reads the rules of a manifest.
    ///
    /// # Errors
    /// When there are too many, or one can never match.
    pub fn new(rules: &[Rule]) -> Result<Self, RulesError> {
        if rules.len() > RULES_MAX {
            return Err(RulesError(format!("it has {} rules, and {RULES_MAX} are the limit", rules.len())));
        }
        let texts = rules.iter().flat_map(|rule| {
            let lists = [&rule.groups, &rule.resources, &rule.namespaces];
            lists.into_iter().flatten().chain([&rule.selector, &rule.namespace_selector])
        });
        let bytes: usize = texts.map(String::len).sum();
        if bytes > RULES_BYTES_MAX {
            return Err(RulesError(format!(
                "its rules have {bytes} bytes, and {RULES_BYTES_MAX} are the limit"
            )));
        }
        let read = |(place, rule): (usize, &Rule)| {
            Matcher::new(rule).map_err(|why| RulesError(format!("its rule {}: {why}", place + 1)))
        };
        Ok(Self(rules.iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether one of them matches.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        !is_exempt(subject.group, subject.resource, subject.sub_resource)
            && self.0.iter().any(|matcher| matcher.matches(subject))
    }
}

impl Matcher {
    fn new(rule: &Rule) -> Result<Self, String> {
        if rule.groups.is_empty() || rule.resources.is_empty() {
            return Err("it names no group or no resource (`*` is any)".to_owned());
        }
        if rule.operations == 0 || rule.operations > 7 {
            let given = rule.operations;
            return Err(format!("operations are the bits 1 create, 2 update and 4 delete, not {given}"));
        }
        let selector = |text: &str| match text {
            "" => Ok(None),
            text => Selector::parse(text).map(Some).map_err(|why| format!("the selector `{text}`: {why}")),
        };
        Ok(Self {
            rule: rule.clone(),
            selector: selector(&rule.selector)?,
            namespace_selector: selector(&rule.namespace_selector)?,
        })
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let Self { rule, selector, namespace_selector } = self;
        let is = |pattern: &String, name: &str| pattern == "*" || pattern == name;
        rule.operations & subject.operation as u32 != 0
            && rule.groups.iter().any(|group| is(group, subject.group))
            && rule.resources.iter().any(|pattern| names(pattern, subject))
            && (rule.namespaces.is_empty() || rule.namespaces.iter().any(|name| is(name, subject.namespace)))
            && namespace_selector.as_ref().is_none_or(|selector| {
                (subject.namespace_labels)().is_none_or(|labels| selector.matches(&labels[..]))
            })
            && selector.as_ref().is_none_or(|selector| {
                subject.objects.into_iter().flatten().any(|object| selector.matches(&labels_of(object)[..]))
            })
    }
}

/// Whether a pattern means a resource: `pods` is not its sub-resources.
fn names(pattern: &str, subject: &Subject<'_>) -> bool {
    let (resource, sub_resource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == subject.resource)
        && match sub_resource {
            "*" => !subject.sub_resource.is_empty(),
            name => name == subject.sub_resource,
        }
}

fn labels_of(object: &Value) -> Vec<(String, String)> {
    let labels = object["metadata"]["labels"].as_object();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs = labels.into_iter().flat_map(|labels| labels.iter());
    pairs.map(|(key, value)| (key.to_string(), text(value))).collect()
}
