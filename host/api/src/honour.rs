//! What Berth does not do yet, as data: nothing that is accepted is silently ignored.
//!
//! `host/api/schema/honour.jsonl` has a row for every type that a spec of a served kind can hold: which fields Berth
//! honours, which not (with what happens and why), which are covered because the row of another field speaks for them,
//! and which are moot: they are about what no node of Berth's has, and Kubernetes ignores them there without a word. A test walks the schema against it, so that a new field cannot slip in unnoticed.

use std::collections::HashMap;
use std::sync::LazyLock;

use berth_json::Value;
use serde::Deserialize;

use crate::decode::path::Path;
use crate::resource::Resource;
use crate::schema::{Field, Schema, Type, TypeId, ValueKind};

/// What happens to a request that uses a field Berth does not honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is accepted with a `Warning` header.
    Warn,
    /// It is refused: ignoring the field would break a promise.
    Refuse,
}

/// A field that is used and not honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhonoured {
    /// Where it stands: `spec.template.spec.affinity.podAffinity`.
    pub field: String,
    /// What happens.
    pub action: Action,
    /// One clause for the user: what Berth does instead.
    pub reason: &'static str,
}

impl Unhonoured {
    /// The text of the `Warning` header: `spec.hostname: …`.
    pub fn warning(&self) -> String {
        format!("{}: {}", self.field, self.reason)
    }
}

/// The fields that `object` uses and Berth does not honour, in the order of the object. Objects of kinds that the list
/// does not know have none.
pub fn unhonoured(resource: &Resource, object: &Value) -> Vec<Unhonoured> {
    let mut found = Vec::new();
    if let Some(root) = Schema::builtin().id_of(&resource.schema_type) {
        visit(root, object, &Path::Root, &mut found);
    }
    found
}

/// What there is to say about one field: the rules about it, and the type in which to look further.
struct Entry {
    field: &'static str,
    rules: Vec<&'static Rule>,
    inner: Option<TypeId>,
}

/// The list by types, in the form in which every write asks it; the fields of a type sorted by name.
static ENTRIES: LazyLock<HashMap<TypeId, Vec<Entry>>> = LazyLock::new(|| {
    let schema = Schema::builtin();
    let known = schema
        .types()
        .filter_map(|known| Some((known, schema.id_of(&known.name)?, RULES.get(&*known.name)?)));
    known.map(|(known, id, rules)| (id, rules.entries(known))).collect()
});

/// The list; `include_str!` makes a broken one a bug of this build.
static RULES: LazyLock<HashMap<&'static str, Rules>> = LazyLock::new(|| {
    let rows = include_str!("../schema/honour.jsonl").lines().enumerate().map(|(at, line)| {
        let row: Rules = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("line {} of the honour list of this build is broken: {error}", at + 1)
        });
        (row.name, row)
    });
    rows.collect()
});

/// The row of one type.
#[derive(Debug, Deserialize)]
struct Rules {
    #[serde(rename = "type")]
    name: &'static str,
    /// Fields that Berth honours; what is in them is looked at by the rows of their types.
    #[serde(default)]
    honoured: Vec<&'static str>,
    #[serde(default)]
    unhonoured: Vec<Rule>,
    /// Fields about which there is nothing to say beyond what the row of the field named by the key says: only the
    /// test that walks the schema reads them.
    #[cfg(test)]
    #[serde(default)]
    covered: HashMap<&'static str, Vec<&'static str>>,
    /// Fields that cannot be broken promises here, and why: these too are read by that test only.
    #[cfg(test)]
    #[serde(default)]
    moot: HashMap<&'static str, &'static str>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    field: &'static str,
    action: Action,
    because: &'static str,
    /// The rule is only about these values.
    #[serde(default)]
    only: Vec<Value>,
    /// The rule is not about these values.
    #[serde(default)]
    except: Vec<Value>,
}

impl Rule {
    fn applies(&self, value: &Value) -> bool {
        (self.only.is_empty() || self.only.contains(value)) && !self.except.contains(value)
    }
}

impl Rules {
    fn entries(&'static self, parent: &'static Type) -> Vec<Entry> {
        let fields = Schema::builtin().json_fields(parent);
        let entry = |field: &'static Field| Entry {
            field: &field.name,
            rules: self.unhonoured.iter().filter(|rule| *rule.field == *field.name).collect(),
            inner: inner(field).filter(|_| self.honoured.contains(&&*field.name)),
        };
        fields.map(entry).filter(|entry| entry.inner.is_some() || !entry.rules.is_empty()).collect()
    }
}

fn visit(parent: TypeId, object: &Value, path: &Path<'_>, found: &mut Vec<Unhonoured>) {
    let (Some(entries), Some(fields)) = (ENTRIES.get(&parent), object.as_object()) else { return };
    for (name, value) in fields {
        let Ok(at) = entries.binary_search_by(|entry| entry.field.cmp(name)) else { continue };
        let (entry, here) = (&entries[at], Path::Field(path, name));
        for rule in entry.rules.iter().filter(|rule| rule.applies(value)) {
            found.push(Unhonoured { field: here.text(), action: rule.action, reason: rule.because });
        }
        if let Some(inner) = entry.inner {
            descend(inner, value, &here, found);
        }
    }
}

fn descend(inner: TypeId, value: &Value, path: &Path<'_>, found: &mut Vec<Unhonoured>) {
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                visit(inner, value, &Path::Index(path, index), found);
            }
        }
        value => visit(inner, value, path, found),
    }
}

fn inner(field: &Field) -> Option<TypeId> {
    match field.kind {
        ValueKind::Struct(id) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use berth_json::{Value, json};

    use super::{Action, RULES, inner, unhonoured};
    use crate::kinds;
    use crate::schema::{Schema, Type};

    /// Fields of an object itself that are no part of what it asks for.
    const NOT_ASKED: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

    /// Visits every type that a spec of a served kind can hold and calls `check` with it and its fields' names.
    fn walk(
        parent: &'static Type,
        is_root: bool,
        seen: &mut HashSet<&'static str>,
        faults: &mut Vec<String>,
    ) {
        if !seen.insert(&parent.name) {
            return;
        }
        let fields = Schema::builtin().json_fields(parent);
        let asked = |name: &str| !(NOT_ASKED.contains(&name) && (is_root || name == "metadata"));
        let fields: Vec<_> = fields.filter(|field| asked(&field.name)).collect();
        let Some(rules) = RULES.get(&*parent.name) else {
            if !fields.is_empty() {
                faults.push(format!("{} has no row", parent.name));
            }
            return;
        };
        let unhonoured: HashSet<&str> = rules.unhonoured.iter().map(|rule| rule.field).collect();
        let covered: HashSet<&str> = rules.covered.values().flatten().copied().collect();
        for field in &fields {
            let name = &*field.name;
            let lists = [
                rules.honoured.contains(&name),
                unhonoured.contains(name),
                covered.contains(name),
                rules.moot.contains_key(name),
            ];
            if lists.iter().filter(|listed| **listed).count() != 1 {
                faults.push(format!("{}.{name} must be honoured, unhonoured, covered or moot", parent.name));
            }
            if let (true, Some(inner)) = (lists[0], inner(field)) {
                walk(Schema::builtin().get(inner), false, seen, faults);
            }
        }
        let known: HashSet<&str> = fields.iter().map(|field| &*field.name).collect();
        let listed = rules.honoured.iter().copied().chain(unhonoured.iter().copied()).chain(covered);
        let listed = listed.chain(rules.moot.keys().copied());
        faults.extend(
            listed
                .filter(|name| !known.contains(name))
                .map(|name| format!("{}.{name} is no field", parent.name)),
        );
        let keys = rules.covered.keys().filter(|key| !unhonoured.contains(**key));
        faults.extend(keys.map(|key| format!("{}.{key} covers others but has no rule", parent.name)));
    }

    #[test]
    fn every_field_of_every_spec_is_on_the_list() {
        let (mut seen, mut faults) = (HashSet::new(), Vec::new());
        for resource in kinds::catalogue().iter() {
            let root = Schema::builtin().named(&resource.schema_type).unwrap();
            walk(root, true, &mut seen, &mut faults);
        }
        faults.extend(
            RULES.keys().filter(|name| !seen.contains(**name)).map(|name| format!("{name} is never used")),
        );
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn reasons_are_clauses() {
        for (name, rules) in RULES.iter() {
            for rule in &rules.unhonoured {
                assert!(rule.because.len() > 10 && !rule.because.ends_with('.'), "{name}.{}", rule.field);
            }
            for (field, because) in &rules.moot {
                assert!(because.len() > 10 && !because.ends_with('.'), "{name}.{field}");
            }
        }
    }

    fn found(id: &str, object: &Value) -> Vec<(String, Action)> {
        let catalogue = kinds::catalogue();
        let found = unhonoured(catalogue.named(id).unwrap(), object);
        found.into_iter().map(|one| (one.field, one.action)).collect()
    }

    #[test]
    fn refused_warned_and_fine() {
        let spec = json!({
            "affinity": {
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]},
                "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]},
            },
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"},
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"},
            ],
            "containers": [{"name": "c", "securityContext": {"seccompProfile": {"type": "Localhost"}, "procMount": "Default"}}],
            "volumes": [{"name": "v", "nfs": {}}, {"name": "e", "emptyDir": {}}],
            "dnsPolicy": "ClusterFirst", "priority": 0, "hostUsers": true,
        });
        let fields = [
            ("affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution", Action::Warn),
            ("affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution", Action::Refuse),
            ("containers[0].securityContext.seccompProfile.type", Action::Refuse),
            ("topologySpreadConstraints[0].whenUnsatisfiable", Action::Warn),
            ("topologySpreadConstraints[1].whenUnsatisfiable", Action::Refuse),
            ("volumes[0].nfs", Action::Refuse),
        ];
        let under = |prefix: &str| -> Vec<(String, Action)> {
            fields.iter().map(|(field, action)| (format!("{prefix}{field}"), *action)).collect()
        };
        assert_eq!(found("pods", &json!({"spec": spec})), under("spec."));
        let deployment = json!({"spec": {"template": {"spec": spec}}});
        assert_eq!(found("deployments.apps", &deployment), under("spec.template.spec."));
    }

    #[test]
    fn what_only_other_nodes_could_have_is_fine() {
        let pod = json!({"spec": {
            "securityContext": {
                "seLinuxOptions": {"level": "s0:c123,c456"}, "seLinuxChangePolicy": "MountOption",
                "windowsOptions": {"runAsUserName": "ContainerUser"}, "appArmorProfile": {"type": "Unconfined"},
            },
            "containers": [{"name": "c", "securityContext": {
                "seLinuxOptions": {"type": "spc_t"}, "windowsOptions": {"hostProcess": false}, "procMount": "Default",
            }}],
        }});
        assert_eq!(found("pods", &pod), []);
    }

    #[test]
    fn the_tutorial_deployment_is_fine() {
        let deployment = json!({"spec": {"replicas": 3, "template": {"spec": {
            "containers": [{
                "name": "my-app", "image": "my-app:latest", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}},
                "terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "Always",
            }],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "default-scheduler",
        }}}});
        assert_eq!(found("deployments.apps", &deployment), []);
    }
}
