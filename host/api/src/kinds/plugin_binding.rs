//! `PluginBinding` of `berth.dev/v1alpha1`: which plugin decides in which role.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{immutable, one_of, reject, validate_meta, validate_meta_update};
use super::plugin::short_digest;
use super::view::str_at;
use super::{Names, drop_status, fill, keep_status, names, status_of};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope};
use crate::status::Problems;

const NAMES: Names = Names {
    group: "berth.dev",
    version: "v1alpha1",
    kind: "PluginBinding",
    plural: "pluginbindings",
    short: &["pb"],
};

/// What a plugin can decide.
const ROLES: [&str; 3] = ["admission", "autoscaler", "scheduler"];
/// What happens when the plugin fails: the last one that worked goes on, the built-in policy takes over, or nothing
/// is decided.
const FAILURE_POLICIES: [&str; 3] = ["LastGood", "Default", "Fail"];
/// The same of an admission policy, for which there is no built-in one: writes go on as if it were not there.
const FAILURE_POLICIES_OF_ADMISSION: [&str; 3] = ["LastGood", "Ignore", "Fail"];

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["berth".to_owned()],
        subresources: vec![status_of("berth.dev", "v1alpha1", "PluginBinding")],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Cluster, PluginBinding)
    }
}

struct PluginBinding;

impl Kind for PluginBinding {
    fn default(&self, object: &mut Value) {
        let Some(spec) = fill::object_at(object, "spec") else { return };
        fill::zero(spec, "role", "scheduler");
        fill::zero(spec, "failurePolicy", "LastGood");
        match spec["role"].as_str() {
            Some("scheduler") => fill::zero(spec, "profile", "default-scheduler"),
            Some("autoscaler") => fill::zero(spec, "profile", "default"),
            _ => {}
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Cluster, names::subdomain_1123, problems);
        let spec = Cursor::top(object, "spec");
        one_of(&spec.child("role"), &ROLES, problems);
        let (profile, order) = (spec.child("profile"), spec.child("order"));
        let is_admission = spec.child("role").text() == "admission";
        if !is_admission {
            reject(&profile, names::subdomain_1123(profile.text()), problems);
            if order.exists() {
                problems.forbidden(order, "only admission policies are asked one after another");
            }
        } else if !profile.is_empty() {
            problems.forbidden(
                profile,
                "an admission policy has no profile; it names the writes it is asked about itself",
            );
        }
        let plugin = spec.child("plugin");
        if plugin.is_empty() {
            problems.required(plugin, "name the Plugin that decides");
        } else {
            reject(&plugin, names::subdomain_1123(plugin.text()), problems);
        }
        let known = if is_admission { &FAILURE_POLICIES_OF_ADMISSION } else { &FAILURE_POLICIES };
        one_of(&spec.child("failurePolicy"), known, problems);
    }

    /// The role and profile say what a binding is; another one is another binding.
    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        self.validate(new, problems);
        let (spec, before) = (Cursor::top(new, "spec"), Cursor::top(old, "spec"));
        for key in ["role", "profile"] {
            immutable(&spec.child(key), &before.child(key), problems);
        }
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
    }

    fn columns(&self) -> Vec<Column> {
        let digest = |object: &Value, _| short_digest(str_at(object, "status.activeDigest")).into();
        let swaps = "How often the active component was replaced.";
        let why = "Why the wanted plugin is not the active one.";
        vec![
            Column::of_name(),
            Column::text("Role", 0, "What is decided.", "spec.role"),
            Column::text("Profile", 0, "For which pods: their schedulerName.", "spec.profile"),
            Column::text("Plugin", 0, "The plugin that is to decide.", "spec.plugin"),
            Column::text("Active", 0, "The plugin that decides now.", "status.activePlugin"),
            Column::number("Swaps", "integer", 0, swaps, "status.swaps"),
            Column::of_age(),
            Column::new("Digest", "string", 1, "The component that decides now.", digest),
            Column::text("On Failure", 1, "What happens when the plugin fails.", "spec.failurePolicy"),
            Column::text("Message", 1, why, "status.message"),
        ]
    }
}
