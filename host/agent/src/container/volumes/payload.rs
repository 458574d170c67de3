//! The files of config map, secret, downward API and projected volumes. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::container::env::not_found;
use crate::container::fields::{Surroundings, field, resource};
use crate::container::keys::contents;
use crate::container::sources::{Objects, SourceKind, SourceName};
use crate::manifest::{DownwardItem, KeyToPath, Pod, Projection, Volume};

/// Permissions of a file whose volume names none.
pub(super) const MODE_DEFAULT: u32 = 0o644;

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their path in the volume.
pub(super) type Files = BTreeMap<String, File>;

/// The objects a volume is made from.
pub(super) fn sources(volume: &Volume) -> Vec<SourceName> {
    let named = |kind, name: &str| SourceName { kind, name: name.to_owned() };
    let mut names = Vec::new();
    names.extend(volume.config_map.as_ref().map(|map| named(SourceKind::ConfigMap, &map.name)));
    names.extend(volume.secret.as_ref().map(|secret| named(SourceKind::Secret, &secret.secret_name)));
    for part in volume.projected.iter().flat_map(|projected| &projected.sources) {
        names.extend(part.config_map.as_ref().map(|map| named(SourceKind::ConfigMap, &map.name)));
        names.extend(part.secret.as_ref().map(|secret| named(SourceKind::Secret, &secret.name)));
    }
    names
}

/// A volume's files, except service account tokens; `None` when the volume is not of these types.
///
/// # Errors
/// In the kubelet's words.
pub(super) fn files(
    pod: &Pod,
    volume: &Volume,
    objects: &Objects,
    around: Surroundings,
) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    let mut add = Adding { objects, files: &mut files, mode: MODE_DEFAULT };
    if let Some(map) = &volume.config_map {
        add.mode = map.default_mode.unwrap_or(MODE_DEFAULT);
        add.object(SourceKind::ConfigMap, &map.name, &map.items, map.optional)?;
    } else if let Some(secret) = &volume.secret {
        add.mode = secret.default_mode.unwrap_or(MODE_DEFAULT);
        add.object(SourceKind::Secret, &secret.secret_name, &secret.items, secret.optional)?;
    } else if let Some(downward) = &volume.downward_api {
        add.mode = downward.default_mode.unwrap_or(MODE_DEFAULT);
        add.downward(pod, &downward.items, around)?;
    } else if let Some(projected) = &volume.projected {
        add.mode = projected.default_mode.unwrap_or(MODE_DEFAULT);
        for part in &projected.sources {
            add.projection(pod, part, around)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

struct Adding<'a> {
    objects: &'a Objects,
    files: &'a mut Files,
    mode: u32,
}

impl Adding<'_> {
    fn projection(&mut self, pod: &Pod, part: &Projection, around: Surroundings) -> Result<(), String> {
        if let Some(map) = &part.config_map {
            self.object(SourceKind::ConfigMap, &map.name, &map.items, map.optional)?;
        }
        if let Some(secret) = &part.secret {
            self.object(SourceKind::Secret, &secret.name, &secret.items, secret.optional)?;
        }
        if let Some(downward) = &part.downward_api {
            self.downward(pod, &downward.items, around)?;
        }
        match part.other.keys().next() {
            Some(kind) => Err(format!("projections of type {kind} are not supported on this node")),
            None => Ok(()),
        }
    }

    fn object(
        &mut self,
        kind: SourceKind,
        name: &str,
        items: &[KeyToPath],
        optional: bool,
    ) -> Result<(), String> {
        let name = SourceName { kind, name: name.to_owned() };
        let Some(object) = self.objects.get(&name).and_then(Option::as_ref) else {
            return if optional { Ok(()) } else { Err(not_found(&name)) };
        };
        let mut contents = contents(kind, object)?;
        if items.is_empty() {
            let mode = self.mode;
            self.files.extend(contents.into_iter().map(|(key, bytes)| (key, File { bytes, mode })));
            return Ok(());
        }
        for item in items {
            match contents.remove(&item.key) {
                Some(bytes) => self.put(&item.path, bytes, item.mode)?,
                None if optional => {}
                None => {
                    let what = if kind == SourceKind::Secret { "secret" } else { "config" };
                    return Err(format!("references non-existent {what} key: {}", item.key));
                }
            }
        }
        Ok(())
    }

    fn downward(&mut self, pod: &Pod, items: &[DownwardItem], around: Surroundings) -> Result<(), String> {
        for item in items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(reference), _) => field(pod, &reference.field_path, around)?,
                (None, Some(reference)) => resource(pod, None, reference, around)?,
                (None, None) => {
                    return Err(format!("the item {} has neither fieldRef nor resourceFieldRef", item.path));
                }
            };
            self.put(&item.path, text.into_bytes(), item.mode)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, bytes: Vec<u8>, mode: Option<u32>) -> Result<(), String> {
        check_path(path)?;
        self.files.insert(path.to_owned(), File { bytes, mode: mode.unwrap_or(self.mode) });
        Ok(())
    }
}

/// A path in a volume stays in it: the API has checked this too, but here files are written as root.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !inside || path.starts_with("..") {
        return Err(format!("the path {path:?} leads out of the volume"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::fields::Allocatable;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn check(volume: Value) -> Result<Vec<String>, String> {
        let pod = Pod::from_value(json!({ "metadata": { "name": "p", "labels": { "a": "b" } },
            "spec": { "volumes": [volume] } }))
        .unwrap();
        let objects: Objects = [
            (
                SourceKind::ConfigMap,
                "m",
                Some(json!({ "data": { "k": "v" }, "binaryData": { "b": "AAE=" } })),
            ),
            (SourceKind::Secret, "s", Some(json!({ "data": { "p": "eHk=" } }))),
            (SourceKind::ConfigMap, "gone", None),
        ]
        .map(|(kind, name, object)| (SourceName { kind, name: name.to_owned() }, object.map(Arc::new)))
        .into();
        let around = Surroundings {
            host_ip: [127, 0, 0, 1].into(),
            pod_ip: None,
            allocatable: Allocatable { cpu_millis: 1, memory_bytes: 1, storage_bytes: 1 },
        };
        let files = files(&pod, &pod.spec.volumes[0], &objects, around)?.unwrap();
        let line = |(path, file): (String, File)| {
            format!("{path} {:o} {:?}", file.mode, String::from_utf8_lossy(&file.bytes))
        };
        Ok(files.into_iter().map(line).collect())
    }

    #[test]
    fn keys_become_files() {
        let all = check(json!({ "name": "v", "configMap": { "name": "m", "defaultMode": 256 } })).unwrap();
        assert_eq!(all, [r#"b 400 "\0\u{1}""#, r#"k 400 "v""#]);
        let item = json!({ "key": "p", "path": "d/x", "mode": 384 });
        let some = check(json!({ "name": "v", "secret": { "secretName": "s", "items": [item] } })).unwrap();
        assert_eq!(some, [r#"d/x 600 "xy""#]);
        let projected = check(json!({ "name": "v", "projected": { "sources": [
            { "configMap": { "name": "gone", "optional": true } },
            { "secret": { "name": "s" } },
            { "downwardAPI": { "items": [{ "path": "l", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
        ] } }));
        assert_eq!(projected.unwrap(), [r#"l 644 "a=\"b\"""#, r#"p 644 "xy""#]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let of = |volume: Value| check(volume).unwrap_err();
        assert_eq!(
            of(json!({ "name": "v", "configMap": { "name": "gone" } })),
            "configmap \"gone\" not found"
        );
        let item = json!({ "key": "nope", "path": "x" });
        let error = of(json!({ "name": "v", "configMap": { "name": "m", "items": [item] } }));
        assert_eq!(error, "references non-existent config key: nope");
        let item = json!({ "key": "k", "path": "../../etc/passwd" });
        assert!(
            of(json!({ "name": "v", "configMap": { "name": "m", "items": [item] } })).contains("leads out")
        );
        let error = of(json!({ "name": "v", "projected": { "sources": [{ "clusterTrustBundle": {} }] } }));
        assert!(error.contains("clusterTrustBundle"));
    }
}
