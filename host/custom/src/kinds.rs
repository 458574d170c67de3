//! From a definition to the resources that are served.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use berth_api::Schema;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_api::resource::{Resource, Scope, Subresource, kind_of};
use berth_json::{Map, Value};

use crate::columns::columns;
use crate::definition::has_webhook;
use crate::json_path::JsonPath;
use crate::kind::{CustomKind, VERBS};
use crate::rows;
use crate::rules::Rules;
use crate::structural::{SchemaError, Structural};
use crate::{openapi, scale};

/// The resources of a definition: one for each version that is served, and one for the version in whose form objects are
/// stored, all in one place. Where a webhook would make objects of one version from those of another, only the stored one
/// is served, because nobody calls it.
///
/// # Errors
/// A schema that is none: definitions are judged before they are stored, so this is one of another server.
pub fn kinds_of(definition: &Value) -> Result<Vec<Resource>, SchemaError> {
    let versions = list_at(definition, "spec.versions");
    let stored = match versions.iter().find(|version| version["storage"] == true) {
        Some(version) if versions.len() > 1 => Some(Arc::new(schema_of(version)?)),
        _ => None,
    };
    let is_alone = has_webhook(definition);
    let needed = versions
        .iter()
        .filter(|version| version["storage"] == true || (version["served"] == true && !is_alone));
    needed.map(|version| resource(definition, version, stored.clone())).collect()
}

fn schema_of(version: &Value) -> Result<Structural, SchemaError> {
    match version.pointer("/schema/openAPIV3Schema").filter(|schema| !schema.is_null()) {
        Some(schema) => Structural::parse(schema),
        // A version without a schema keeps everything; the API server has such from before there were schemas.
        None => Ok(Structural { preserves_unknown: true, ..Structural::default() }),
    }
}

fn resource(
    definition: &Value,
    version: &Value,
    stored: Option<Arc<Structural>>,
) -> Result<Resource, SchemaError> {
    let group = str_at(definition, "spec.group").to_owned();
    let names = names(definition);
    let text = |name: &str| names.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |name: &str| {
        let list = names.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (plural, kind, version_name) = (text("plural"), text("kind"), str_at(version, "name").to_owned());
    let scope =
        if str_at(definition, "spec.scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
    let schema = schema_of(version)?;
    let subresources = version.get("subresources").unwrap_or(&Value::Null);
    let has_status = subresources.get("status").is_some_and(|status| !status.is_null());
    let scale = scale::paths_of(subresources);
    let types = rows::types(&group, &version_name, &kind, &schema)?;
    let behaviour = CustomKind {
        scope,
        has_defaults: stored.as_deref().unwrap_or(&schema).has_defaults(),
        stored,
        rules: Rules::of(&schema),
        has_status,
        scale: scale.clone(),
        columns: columns(version.get("additionalPrinterColumns").unwrap_or(&Value::Null)),
        fields: fields(definition),
        selectable: selectable(version).map(|(name, _)| name).collect(),
        components: openapi::components(definition, &version_name).map(Vec::from).unwrap_or_default(),
        schema,
    };
    Ok(Resource {
        id: format!("{plural}.{group}").into(),
        is_custom: true,
        is_served: version["served"] == true,
        is_storage: version["storage"] == true,
        list_kind: text("listKind"),
        version: version_name.clone(),
        plural,
        singular: text("singular"),
        short_names: texts("shortNames"),
        categories: texts("categories"),
        scope,
        verbs: VERBS.to_vec(),
        subresources: served_below(&group, &version_name, &kind, has_status, scale.is_some()),
        scale,
        schema: Arc::new(types.schema),
        schema_type: types.whole,
        fields_type: types.owned,
        has_generation: true,
        create_on_update: false,
        unconditional_update: false,
        deprecation: deprecation(definition, version),
        behaviour: Arc::new(behaviour),
        group,
        kind,
    })
}

/// The names that were accepted; those that are wished for before anybody looked.
fn names(definition: &Value) -> &Map {
    static NONE: Map = Map::new();
    let accepted = at(definition, "status.acceptedNames");
    let accepted = accepted.filter(|names| names["plural"].as_str().is_some_and(|plural| !plural.is_empty()));
    accepted.or_else(|| at(definition, "spec.names")).and_then(Value::as_object).unwrap_or(&NONE)
}

fn served_below(
    group: &str,
    version: &str,
    kind: &str,
    has_status: bool,
    has_scale: bool,
) -> Vec<Subresource> {
    const VERBS: &[&str] = &["get", "patch", "update"];
    let own = || (group.to_owned().into(), version.to_owned().into(), kind.to_owned().into());
    let status = has_status.then(|| Subresource { name: "status", kind: own(), verbs: VERBS });
    let scale_kind = kind_of("autoscaling", "v1", "Scale");
    let scale = has_scale.then_some(Subresource { name: "scale", kind: scale_kind, verbs: VERBS });
    status.into_iter().chain(scale).collect()
}

fn selectable(version: &Value) -> impl Iterator<Item = (Cow<'static, str>, JsonPath)> {
    let paths = list_at(version, "selectableFields").iter().map(|field| str_at(field, "jsonPath"));
    paths.filter_map(|path| Some((path.trim_start_matches('.').to_owned().into(), JsonPath::parse(path)?)))
}

/// The selectable fields of all versions, each once.
fn fields(definition: &Value) -> Vec<(Cow<'static, str>, JsonPath)> {
    let mut fields: Vec<(Cow<'static, str>, JsonPath)> =
        list_at(definition, "spec.versions").iter().flat_map(selectable).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields.dedup_by(|(a, _), (b, _)| a == b);
    fields
}

/// What every request for a deprecated version is warned of.
fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.to_owned());
    }
    let (group, kind) = (str_at(definition, "spec.group"), str_at(definition, "spec.names.kind"));
    let name = str_at(version, "name");
    let better = list_at(definition, "spec.versions")
        .iter()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(|other| str_at(other, "name"))
        .filter(|other| by_stability(name, other) == Ordering::Less);
    let advice = better.max_by(|a, b| by_stability(a, b)).map(|best| format!("; use {group}/{best} {kind}"));
    Some(format!("{group}/{name} {kind} is deprecated{}", advice.unwrap_or_default()))
}

/// The order of versions: `v1` before `v2`, `v1beta1` before `v1`, `v1alpha1` before `v1beta1`, others before all of them
/// and the other way round than they would stand in a dictionary.
pub fn by_stability(a: &str, b: &str) -> Ordering {
    match (stability(a), stability(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

/// How stable a version is, its number, and the number of its alpha or beta; none when it is named otherwise.
fn stability(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (major, rest) = rest.split_at(digits);
    let number = |text: &str| {
        let is_plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        is_plain.then(|| text.parse().ok()).flatten()
    };
    let major = number(major)?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (rank, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ => return None,
    };
    Some((rank, major, number(minor)?))
}

/// The types that every kind is made with.
pub(crate) fn metadata_types() -> Schema {
    Schema::builtin().part(&["meta.v1.ObjectMeta", "meta.v1.TypeMeta"])
}

#[cfg(test)]
mod tests {
    use super::by_stability;

    #[test]
    fn versions_by_stability() {
        let mut versions =
            ["v1", "v10", "v2", "v1beta1", "v1beta2", "v2alpha1", "v11alpha2", "foo1", "foo10"];
        versions.sort_by(|a, b| by_stability(b, a));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v1beta2", "v1beta1", "v11alpha2", "v2alpha1", "foo1", "foo10"]
        );
    }
}
