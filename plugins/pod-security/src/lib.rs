//! Built-in policy: the Pod Security Standards of Kubernetes 1.37, by the labels of a namespace.
//!
//! `pod-security.kubernetes.io/enforce`, `…/warn` and `…/audit` name a level (`privileged`, `baseline`, `restricted`), each with
//! `-version` beside it a version (`latest`, `v1.<minor>`). A pod that violates the enforced standard is refused; a pod, or what
//! makes pods, that violates the others is warned of and noted for the log. Labels that mean nothing are refused.
//!
//! Sentences are those of Kubernetes' own plugin, as far as the contract has room for them.

mod controls;
mod pod;
mod said;
mod standard;

use berth_sdk::admission::{Admission, Manifest, Operation, Request, Rule, Verdict};
use pod::Pod;
use serde::Deserialize;
use serde_json::Value;
use standard::{Level, Modes, PREFIX, Standard, Version};

/// What its configuration says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    defaults: Defaults,
    exemptions: Exemptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Defaults {
    enforce: Level,
    enforce_version: Version,
    audit: Level,
    audit_version: Version,
    warn: Level,
    warn_version: Version,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "defaults": {
      "description": "What holds in namespaces without the label of the same name: by default `privileged`, as of `latest`.",
      "type": "object",
      "properties": {
        "enforce": {"description": "Pods that violate it are refused.", "type": "string", "enum": ["privileged", "baseline", "restricted"]},
        "enforceVersion": {"description": "`latest` or `v1.<minor>`.", "type": "string", "pattern": "^(latest|v1\\.(0|[1-9][0-9]{0,8}))$"},
        "audit": {"description": "What violates it is noted for the log.", "type": "string", "enum": ["privileged", "baseline", "restricted"]},
        "auditVersion": {"description": "`latest` or `v1.<minor>`.", "type": "string", "pattern": "^(latest|v1\\.(0|[1-9][0-9]{0,8}))$"},
        "warn": {"description": "Whoever makes what violates it is warned.", "type": "string", "enum": ["privileged", "baseline", "restricted"]},
        "warnVersion": {"description": "`latest` or `v1.<minor>`.", "type": "string", "pattern": "^(latest|v1\\.(0|[1-9][0-9]{0,8}))$"}
      }
    },
    "exemptions": {
      "description": "Whose pods, and what makes them, are not looked at.",
      "type": "object",
      "properties": {
        "usernames": {
          "description": "Who writes. A controller makes the pods of workloads, so that exempting a user exempts none that his workloads make.",
          "type": "array", "maxItems": 256, "items": {"type": "string", "minLength": 1, "maxLength": 255}
        },
        "namespaces": {
          "description": "Names of namespaces.",
          "type": "array", "maxItems": 256, "items": {"type": "string", "minLength": 1, "maxLength": 63}
        },
        "runtimeClasses": {
          "description": "What pods have as `runtimeClassName`.",
          "type": "array", "maxItems": 256, "items": {"type": "string", "minLength": 1, "maxLength": 253}
        }
      }
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct PodSecurity {
    defaults: Modes,
    exemptions: Exemptions,
}

impl Admission for PodSecurity {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let Config { defaults, exemptions } = berth_sdk::config(config)?;
        let standard = |level, version| Standard { level, version };
        let defaults = Modes {
            enforce: standard(defaults.enforce, defaults.enforce_version),
            audit: standard(defaults.audit, defaults.audit_version),
            warn: standard(defaults.warn, defaults.warn_version),
        };
        let core = Rule::of("", "namespaces").and("pods").and("pods/ephemeralcontainers");
        let core = core.and("podtemplates").and("replicationcontrollers");
        let apps = Rule::of("apps", "daemonsets").and("deployments").and("replicasets").and("statefulsets");
        let batch = Rule::of("batch", "cronjobs").and("jobs");
        let manifest = [core, apps, batch]
            .into_iter()
            .fold(Manifest::new("pod-security", env!("CARGO_PKG_VERSION")), |manifest, rule| {
                manifest.asks_about(rule.on_create().on_update())
            });
        Ok((Self { defaults, exemptions }, manifest))
    }

    fn review(&self, request: &Request) -> Verdict {
        if request.resource == "namespaces" {
            return self.review_namespace(request);
        }
        let pod = pod_in(&request.resource, request.object());
        if !pod.is_object() {
            return Verdict::allow(); // A replication controller need not have a template.
        }
        if let Some(exempt) = self.exempting(request, pod) {
            return Verdict::allow().audit(format!("{PREFIX}exempt"), exempt);
        }
        if request.resource != "pods" {
            return self.judge(request, pod, false);
        }
        let is_judged_already =
            request.operation == Operation::Update && !is_significant(request.old_object(), pod);
        if is_judged_already { Verdict::allow() } else { self.judge(request, pod, true) }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

/// The pod of a request, or the template by which its object makes pods.
fn pod_in<'a>(resource: &str, object: &'a Value) -> &'a Value {
    match resource {
        "pods" => object,
        "podtemplates" => &object["template"],
        "cronjobs" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    }
}

/// Whether a change of a pod is one by which it can come to violate a standard. What runs is not refused again when the standard
/// has become stricter, or other parts of it change.
fn is_significant(old: &Value, new: &Value) -> bool {
    let (old, new) = (Pod::of(old), Pod::of(new));
    old.containers != new.containers
        || old.seccomp_annotations() != new.seccomp_annotations()
        || old.app_armor_annotations() != new.app_armor_annotations()
}

impl PodSecurity {
    /// By what a write is exempt, as the log has it.
    fn exempting(&self, request: &Request, pod: &Value) -> Option<&'static str> {
        let Exemptions { usernames, namespaces, runtime_classes } = &self.exemptions;
        let runtime_class = pod["spec"]["runtimeClassName"].as_str();
        if namespaces.contains(&request.namespace) {
            Some("namespace")
        } else if usernames.contains(&request.user) {
            Some("user")
        } else if runtime_classes.iter().any(|class| Some(class.as_str()) == runtime_class) {
            Some("runtimeClass")
        } else {
            None
        }
    }

    /// Holds a pod, or the template of one, against what its namespace asks for.
    fn judge(&self, request: &Request, pod: &Value, is_enforced: bool) -> Verdict {
        let (modes, wrong) = self.defaults.labelled(|key| request.namespace_label(key));
        let refused = if is_enforced { modes.enforce.violations(pod) } else { vec![] };
        let mut verdict = if refused.is_empty() {
            let warnings = said::warnings(modes.warn, &modes.warn.violations(pod));
            warnings.into_iter().fold(Verdict::allow(), Verdict::warn)
        } else {
            Verdict::deny(said::refusal(modes.enforce, &refused))
        };
        if !wrong.is_empty() {
            verdict = verdict.audit(format!("{PREFIX}error"), said::unread(&wrong));
        }
        if is_enforced {
            verdict = verdict.audit(format!("{PREFIX}enforce-policy"), modes.enforce.to_string());
        }
        let noted = modes.audit.violations(pod);
        if noted.is_empty() {
            return verdict;
        }
        verdict.audit(format!("{PREFIX}audit-violations"), said::note(modes.audit, &noted))
    }

    /// Refuses labels that mean nothing, unless they are there already: a namespace that has them can still be changed otherwise.
    fn review_namespace(&self, request: &Request) -> Verdict {
        let labelled = |namespace: &Value| {
            let labels = &namespace["metadata"]["labels"];
            self.defaults.labelled(|key| labels[key].as_str())
        };
        let (modes, wrong) = labelled(request.object());
        let (before, was_wrong) = labelled(request.old_object());
        if !wrong.is_empty() && wrong != was_wrong {
            return Verdict::deny(said::invalid(&wrong)).with_code(422);
        }
        let (new, old) = (modes.enforce, before.enforce);
        let is_relaxed = new.version == old.version && new.level <= old.level;
        let is_stricter = !is_relaxed && new.level != Level::Privileged;
        let is_new = request.operation == Operation::Create;
        let warning = if self.exemptions.namespaces.contains(&request.name) {
            let labels = &request.object()["metadata"]["labels"];
            let is_named = |mode: &str| {
                ["", "-version"].iter().any(|part| labels.get(format!("{PREFIX}{mode}{part}")).is_some())
            };
            (is_new || is_stricter).then(|| said::ignored(&request.name, modes, is_named)).flatten()
        } else {
            (is_stricter && !is_new).then(|| said::unseen(&request.name, new))
        };
        warning.into_iter().fold(Verdict::allow(), Verdict::warn)
    }
}

berth_sdk::export!(PodSecurity as admission);

#[cfg(test)]
mod tests;
