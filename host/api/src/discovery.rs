//! Discovery documents, made from the catalogue.

use berth_json::{Map, Value, json};

use crate::resource::{Catalogue, Resource, Scope, Subresource};

/// `GET /api`: `APIVersions` of the core group. `address` is what clients reach the server at (`host:port`).
pub fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// `GET /apis`: `APIGroupList`.
pub fn groups(catalogue: &Catalogue) -> Value {
    let groups: Vec<Value> = group_names(catalogue).filter_map(|name| group_entry(catalogue, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `GET /apis/<group>`: `APIGroup`; `None` when there is no such group.
pub fn group(catalogue: &Catalogue, group: &str) -> Option<Value> {
    let mut entry = group_entry(catalogue, group)?;
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

/// `GET /api/v1` and `GET /apis/<group>/<version>`: `APIResourceList`; `None` when nothing is served there.
pub fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Option<Value> {
    let mut entries = Vec::new();
    for resource in of_version(catalogue, group, version) {
        entries.push(legacy(resource));
        entries.extend(
            resource.subresources.iter().map(|subresource| legacy_subresource(resource, subresource)),
        );
    }
    if entries.is_empty() {
        return None;
    }
    let group_version = api_version(group, version);
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries,
    }))
}

/// `GET /api` aggregated: `APIGroupDiscoveryList` of the core group. `version` is `v2` or `v2beta1`.
pub fn aggregated_core(catalogue: &Catalogue, version: &str) -> Value {
    aggregated(catalogue, std::iter::once(""), version)
}

/// `GET /apis` aggregated: `APIGroupDiscoveryList` of all other groups. `version` is `v2` or `v2beta1`.
pub fn aggregated_groups(catalogue: &Catalogue, version: &str) -> Value {
    aggregated(catalogue, group_names(catalogue), version)
}

/// The groups in the order of the catalogue, without the core group.
fn group_names(catalogue: &Catalogue) -> impl Iterator<Item = &str> {
    let mut names: Vec<&str> = Vec::new();
    for resource in catalogue.iter() {
        if !resource.group.is_empty() && !names.contains(&resource.group.as_str()) {
            names.push(&resource.group);
        }
    }
    names.into_iter()
}

/// The versions of a group in the order of the catalogue: the first is the preferred one.
fn versions<'c>(catalogue: &'c Catalogue, group: &str) -> Vec<&'c str> {
    let mut versions: Vec<&str> = Vec::new();
    for resource in catalogue.iter().filter(|resource| resource.group == group) {
        if !versions.contains(&resource.version.as_str()) {
            versions.push(&resource.version);
        }
    }
    versions
}

fn of_version<'c>(
    catalogue: &'c Catalogue,
    group: &str,
    version: &str,
) -> impl Iterator<Item = &'c Resource> {
    catalogue.iter().map(|resource| &**resource).filter(move |r| r.group == group && r.version == version)
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_entry(catalogue: &Catalogue, group: &str) -> Option<Value> {
    let version = |version: &&str| json!({ "groupVersion": api_version(group, version), "version": version });
    let versions: Vec<Value> = versions(catalogue, group).iter().map(version).collect();
    let preferred = versions.first()?.clone();
    Some(json!({ "name": group, "versions": versions, "preferredVersion": preferred }))
}

fn legacy(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.scope == Scope::Namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    add_names(resource, &mut entry);
    entry
}

fn legacy_subresource(resource: &Resource, subresource: &Subresource) -> Value {
    let (group, version, kind) = subresource.kind();
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, subresource.name),
        "singularName": "",
        "namespaced": resource.scope == Scope::Namespaced,
        "kind": kind,
        "verbs": subresource.verbs,
    });
    if !is_own(resource, subresource) {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

fn aggregated<'c>(catalogue: &Catalogue, groups: impl Iterator<Item = &'c str>, api: &str) -> Value {
    let version = |group: &str, version: &str| {
        let resources: Vec<Value> = of_version(catalogue, group, version).map(aggregated_resource).collect();
        json!({ "version": version, "resources": resources, "freshness": "Current" })
    };
    let item = |group: &str| {
        let versions: Vec<Value> = versions(catalogue, group).iter().map(|one| version(group, one)).collect();
        let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
        json!({ "metadata": metadata, "versions": versions })
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{api}"),
        "metadata": {},
        "items": groups.map(item).collect::<Vec<_>>(),
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": { "group": "", "version": "", "kind": resource.kind },
        "scope": match resource.scope {
            Scope::Namespaced => "Namespaced",
            Scope::Cluster => "Cluster",
        },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    add_names(resource, &mut entry);
    if !resource.subresources.is_empty() {
        let entries =
            resource.subresources.iter().map(|subresource| aggregated_subresource(resource, subresource));
        entry["subresources"] = entries.collect();
    }
    entry
}

/// The API server leaves group and version empty when they are those of the list.
fn aggregated_subresource(resource: &Resource, subresource: &Subresource) -> Value {
    let (group, version, kind) = subresource.kind();
    let (group, version) = if is_own(resource, subresource) { ("", "") } else { (group, version) };
    json!({
        "subresource": subresource.name,
        "responseKind": { "group": group, "version": version, "kind": kind },
        "verbs": subresource.verbs,
    })
}

fn is_own(resource: &Resource, subresource: &Subresource) -> bool {
    let (group, version, _) = subresource.kind();
    resource.group == group && resource.version == version
}

fn add_names(resource: &Resource, entry: &mut Value) {
    let lists: [(&str, &Vec<String>); 2] =
        [("shortNames", &resource.short_names), ("categories", &resource.categories)];
    let present = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let additions: Map =
        present.map(|(key, names)| (key, names.iter().map(String::as_str).collect::<Value>())).collect();
    if let Value::Object(fields) = entry {
        fields.extend(additions);
    }
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, json};

    use super::{aggregated_core, aggregated_groups, core_versions, group, groups, resources};
    use crate::kinds;

    fn named<'v>(list: &'v Value, key: &str, name: &str) -> &'v Value {
        list.as_array().unwrap().iter().find(|entry| entry[key] == name).unwrap()
    }

    #[test]
    fn legacy_documents() {
        let catalogue = kinds::catalogue();
        let core = resources(&catalogue, "", "v1").unwrap();
        assert_eq!(
            named(&core["resources"], "name", "services"),
            &json!({
                "name": "services", "singularName": "service", "namespaced": true, "kind": "Service",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                "shortNames": ["svc"], "categories": ["all"],
            })
        );
        assert_eq!(
            named(&core["resources"], "name", "serviceaccounts/token"),
            &json!({
                "name": "serviceaccounts/token", "singularName": "", "namespaced": true,
                "group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"],
            })
        );
        let apps = group(&catalogue, "apps").unwrap();
        assert_eq!(
            apps,
            json!({
                "kind": "APIGroup", "apiVersion": "v1", "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            })
        );
        assert_eq!(resources(&catalogue, "apps", "v2"), None);
        assert_eq!(group(&catalogue, "nosuch"), None);
        assert!(groups(&catalogue)["groups"].as_array().unwrap().iter().all(|entry| entry["name"] != ""));
        assert_eq!(core_versions("h:1")["versions"], json!(["v1"]));
    }

    #[test]
    fn aggregated_documents() {
        let catalogue = kinds::catalogue();
        let list = aggregated_groups(&catalogue, "v2");
        assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
        let apps =
            list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
        assert_eq!(
            named(&apps["versions"][0]["resources"], "resource", "replicasets"),
            &json!({
                "resource": "replicasets", "responseKind": {"group": "", "version": "", "kind": "ReplicaSet"},
                "scope": "Namespaced", "singularResource": "replicaset",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                "shortNames": ["rs"], "categories": ["all"],
                "subresources": [
                    {
                        "subresource": "scale",
                        "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                        "verbs": ["get", "patch", "update"],
                    },
                    {
                        "subresource": "status",
                        "responseKind": {"group": "", "version": "", "kind": "ReplicaSet"},
                        "verbs": ["get", "patch", "update"],
                    },
                ],
            })
        );
        let core = aggregated_core(&catalogue, "v2");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        assert_eq!(core["items"][0]["metadata"], json!({}));
    }
}
