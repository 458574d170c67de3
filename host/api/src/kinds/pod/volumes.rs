//! Volumes and what they are filled from.

use std::collections::BTreeSet;

use super::containers::{descending, no_backsteps};
use super::env::{VOLUME_FIELDS, validate_field, validate_resource};
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject};
use crate::kinds::names;
use crate::kinds::view::{repeats, str_at};
use crate::quantity::Quantity;
use crate::status::Problems;

/// Every kind of volume, in the order in which the API server looks at them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
    "projected",
    "csi",
    "ephemeral",
    "image",
];

/// What a path on the host may be; `""` means that nobody looks.
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The shortest life of a projected token, in seconds.
const TOKEN_LIFE_S_MIN: i64 = 600;
/// The longest life of a projected token, in seconds.
const TOKEN_LIFE_S_MAX: i64 = 1 << 32;
/// The longest name of a CSI driver.
const DRIVER_LENGTH_MAX: usize = 63;

/// Checks a pod's `volumes`.
pub(super) fn validate_volumes(volumes: &Cursor<'_>, problems: &mut Problems) {
    let repeated = repeats(volumes.list(), |volume| str_at(volume, "name"));
    for (index, volume) in volumes.items().enumerate() {
        validate_source(&volume, problems);
        let name = volume.child("name");
        if name.is_empty() {
            problems.required(name, "");
        } else {
            reject(&name, names::label_1123(name.text()), problems);
        }
        if repeated[index] {
            problems.duplicate(name, name.value());
        }
    }
}

fn validate_source(volume: &Cursor<'_>, problems: &mut Problems) {
    let mut found = false;
    for key in SOURCES {
        let source = volume.child(key);
        if !source.exists() {
            continue;
        }
        if found {
            problems.forbidden(source, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        match key {
            "emptyDir" => validate_empty_dir(&source, problems),
            "hostPath" => validate_host_path(&source, problems),
            "secret" => validate_keys(&source, "secretName", problems),
            "configMap" => validate_keys(&source, "name", problems),
            "downwardAPI" => {
                validate_mode(&source.child("defaultMode"), problems);
                for file in source.child("items").items() {
                    validate_downward_file(&file, &source, problems);
                }
            }
            "projected" => validate_projected(&source, problems),
            "persistentVolumeClaim" => require(&source, &["claimName"], problems),
            "nfs" => require(&source, &["server", "path"], problems),
            "csi" => validate_driver(&source.child("driver"), problems),
            "iscsi" => require(&source, &["targetPortal", "iqn"], problems),
            "image" => require(&source, &["reference"], problems),
            _ => {}
        }
    }
    if !found {
        problems.required(volume, "must specify a volume type");
    }
}

fn require(source: &Cursor<'_>, keys: &[&str], problems: &mut Problems) {
    for key in keys {
        if source.child(key).is_empty() {
            problems.required(source.child(key), "");
        }
    }
}

fn validate_empty_dir(source: &Cursor<'_>, problems: &mut Problems) {
    let limit = source.child("sizeLimit");
    if Quantity::parse(limit.text()).is_ok_and(Quantity::is_negative) {
        problems.forbidden(limit, "SizeLimit field must be a valid resource quantity");
    }
}

fn validate_host_path(source: &Cursor<'_>, problems: &mut Problems) {
    let path = source.child("path");
    if path.is_empty() {
        problems.required(path, "");
        return;
    }
    no_backsteps(&path.path(), path.text(), problems);
    one_of(&source.child("type"), &HOST_PATH_TYPES, problems);
}

fn validate_driver(driver: &Cursor<'_>, problems: &mut Problems) {
    if driver.is_empty() {
        return problems.required(driver, "");
    }
    if driver.text().len() > DRIVER_LENGTH_MAX {
        problems.too_long(driver, &format!("may not be more than {DRIVER_LENGTH_MAX} bytes"));
    }
    for fault in names::subdomain_1123(&driver.text().to_lowercase()) {
        problems.invalid(driver, &driver.text().into(), &fault);
    }
}

/// A ConfigMap or Secret whose keys become files.
fn validate_keys(source: &Cursor<'_>, name: &str, problems: &mut Problems) {
    require(source, &[name], problems);
    validate_mode(&source.child("defaultMode"), problems);
    for item in source.child("items").items() {
        validate_item(&item, problems);
    }
}

fn validate_item(item: &Cursor<'_>, problems: &mut Problems) {
    require(item, &["key", "path"], problems);
    validate_file_path(&item.child("path").path(), item.child("path").text(), problems);
    validate_mode(&item.child("mode"), problems);
}

fn validate_mode(mode: &Cursor<'_>, problems: &mut Problems) {
    if mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        problems.invalid(mode, mode.value(), detail);
    }
}

/// The path of a file inside a volume; names that start with `..` belong to the volume's own machinery.
fn validate_file_path(at: &str, path: &str, problems: &mut Problems) {
    descending(at, path, problems);
    if path.starts_with("..") && !path.starts_with("../") {
        problems.invalid(at, &path.into(), "must not start with '..'");
    }
}

/// Checks one file of a downward API volume; the API server names the volume's source, not the file, in its paths.
fn validate_downward_file(file: &Cursor<'_>, source: &Cursor<'_>, problems: &mut Problems) {
    let at = |key: &str| source.child(key).path();
    let path = file.child("path");
    if path.is_empty() {
        problems.required(at("path"), "");
    }
    validate_file_path(&at("path"), path.text(), problems);
    let (field, resource) = (file.child("fieldRef"), file.child("resourceFieldRef"));
    if field.exists() {
        validate_field(&Cursor::named(&at("fieldRef"), field.value()), &VOLUME_FIELDS, problems);
        if resource.exists() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            problems.invalid(source, &"resource".into(), detail);
        }
    } else if resource.exists() {
        if resource.child("containerName").is_empty() {
            problems.required(format!("{}.containerName", at("resourceFieldRef")), "");
        } else {
            validate_resource(&Cursor::named(&at("resourceFieldRef"), resource.value()), problems);
        }
    } else {
        problems.required(source, "one of fieldRef and resourceFieldRef is required");
    }
    validate_mode(&Cursor::named(&at("mode"), file.child("mode").value()), problems);
}

fn validate_projected(projected: &Cursor<'_>, problems: &mut Problems) {
    validate_mode(&projected.child("defaultMode"), problems);
    let mut paths = BTreeSet::new();
    for source in projected.child("sources").items() {
        for key in ["secret", "configMap"] {
            let part = source.child(key);
            if part.exists() {
                require(&part, &["name"], problems);
                part.child("items").items().for_each(|item| validate_item(&item, problems));
                check_paths(&part, projected, &mut paths, problems);
            }
        }
        let (downward, token) = (source.child("downwardAPI"), source.child("serviceAccountToken"));
        for file in downward.child("items").items() {
            validate_downward_file(&file, &downward, problems);
        }
        check_paths(&downward, projected, &mut paths, problems);
        if token.exists() {
            validate_token(&token, projected, problems);
        }
        if source.map().is_some_and(|sources| sources.len() > 1) {
            problems.forbidden(source, "may not specify more than 1 volume type");
        }
    }
}

/// No two sources may write the same file.
fn check_paths(
    part: &Cursor<'_>,
    projected: &Cursor<'_>,
    seen: &mut BTreeSet<String>,
    problems: &mut Problems,
) {
    for item in part.child("items").items() {
        let path = item.child("path").text();
        if !path.is_empty() && !seen.insert(path.to_owned()) {
            let name = part.child("name").text();
            problems.invalid(projected, &name.into(), "conflicting duplicate paths");
        }
    }
}

fn validate_token(token: &Cursor<'_>, projected: &Cursor<'_>, problems: &mut Problems) {
    let life = token.child("expirationSeconds");
    if life.int().is_some_and(|seconds| seconds < TOKEN_LIFE_S_MIN) {
        problems.invalid(life, life.value(), "may not specify a duration less than 10 minutes");
    }
    if life.int().is_some_and(|seconds| seconds > TOKEN_LIFE_S_MAX) {
        problems.invalid(life, life.value(), "may not specify a duration larger than 2^32 seconds");
    }
    let path = token.child("path");
    if path.is_empty() {
        problems.required(projected.child("path"), "");
    } else {
        validate_file_path(&projected.child("path").path(), path.text(), problems);
    }
}
