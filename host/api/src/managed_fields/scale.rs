//! Who manages a Scale: whoever manages `spec.replicas` of the workload that it is a window on.

use berth_json::Value;

use super::apply::{Managers, path_set};
use super::entry::{self, Entry, Operation};
use super::set::FieldSet;
use super::stored;

/// The number of replicas, in a workload as in its Scale.
const REPLICAS: [&str; 2] = ["spec", "replicas"];

/// Gives the Scale of `workload` the `managedFields` that concern it, for [`super::apply`] to look at.
pub fn show_managers(workload: &Value, scale: &mut Value) {
    let owners = stored(workload).into_iter().filter(|entry| owns_replicas(&entry.fields));
    let entries = owners.map(|entry| Entry { fields: path_set(&REPLICAS), ..entry }).collect();
    if let Some(list) = entry::encode(entries) {
        list.put_into(scale);
    }
}

impl Managers {
    /// Who manages `workload`, when these manage its Scale: who lost the replicas there loses them here.
    pub fn of_workload(self, workload: &Value) -> Self {
        let before = stored(workload);
        let mut owners: Vec<Entry> =
            self.entries.into_iter().filter(|entry| owns_replicas(&entry.fields)).collect();
        let mut entries = Vec::with_capacity(before.len() + owners.len());
        for mut entry in before.iter().cloned() {
            if owns_replicas(&entry.fields) {
                match owners.iter().position(|owner| is_same_manager(owner, &entry)) {
                    Some(at) => drop(owners.remove(at)),
                    None => entry.fields.remove(&path_set(&REPLICAS)),
                }
            }
            entries.push(entry);
        }
        entries.extend(owners);
        entries.retain(|entry| !entry.fields.is_empty());
        let is_changed = !entry::same_but_times(&before, &entries);
        Self { entries, is_changed }
    }
}

fn owns_replicas(set: &FieldSet) -> bool {
    set.get("f:spec").and_then(|spec| spec.get("f:replicas")).is_some_and(|replicas| replicas.member)
}

/// Whether two entries are of one manager; an applier is the same in whatever version it applies.
fn is_same_manager(one: &Entry, other: &Entry) -> bool {
    let is_same_version = one.operation == Operation::Apply || one.api_version == other.api_version;
    (one.operation, &one.manager, &one.subresource) == (other.operation, &other.manager, &other.subresource)
        && is_same_version
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::super::{Applier, Writer, apply};
    use super::*;
    use crate::schema::Schema;
    use crate::time::Timestamp;

    fn entry(manager: &str, subresource: &str, fields: Value) -> Value {
        json!({
            "manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "subresource": subresource,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn who_scales_owns_the_replicas_of_the_workload() {
        let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let workload = json!({
            "metadata": {"name": "w", "managedFields": [entry("a", "", both), entry("b", "", json!({"f:status": {}}))]},
            "spec": {"replicas": 3, "paused": true},
        });
        let mut scale = json!({"metadata": {"name": "w"}, "spec": {"replicas": 3}});
        show_managers(&workload, &mut scale);
        assert_eq!(
            scale["metadata"]["managedFields"],
            json!([{
                "manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }])
        );
        let writer = Writer {
            manager: "c",
            api_version: "apps/v1",
            subresource: "scale",
            now: Timestamp::from_seconds(0),
        };
        let config = json!({"metadata": {"name": "w"}, "spec": {"replicas": 5}});
        let scale_type = "autoscaling.v1.Scale";
        let applied = |force| {
            let applier = Applier { writer, force, ignored: &[] };
            apply(Schema::builtin(), scale_type, Some(&scale), &config, applier)
        };
        let refused = applied(false).unwrap_err();
        assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
        let managers = applied(true).unwrap().managers.of_workload(&workload);
        assert!(managers.is_changed);
        let list: Value = serde_json::from_str(managers.encode().unwrap().as_json()).unwrap();
        let sets: Vec<(&Value, &Value)> =
            list.as_array().unwrap().iter().map(|entry| (&entry["manager"], &entry["fieldsV1"])).collect();
        assert_eq!(
            sets,
            [
                (&json!("a"), &json!({"f:spec": {"f:paused": {}}})),
                (&json!("b"), &json!({"f:status": {}})),
                (&json!("c"), &json!({"f:spec": {"f:replicas": {}}})),
            ]
        );
    }
}
