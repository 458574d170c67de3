//! `Secret`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_json::{Map, Value};

use super::config_map::{count, decoded_length, too_long_detail, validate_immutable, validate_key};
use super::cursor::Cursor;
use super::meta::{immutable, validate_meta, validate_meta_update};
use super::view::str_at;
use super::{Names, config_map, fill, names};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names = Names { group: "", version: "v1", kind: "Secret", plural: "secrets", short: &[] };

const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

pub(super) fn resource() -> Resource {
    super::resource(&NAMES, Scope::Namespaced, Secret)
}

struct Secret;

impl Kind for Secret {
    fn default(&self, object: &mut Value) {
        let Some(secret) = object.as_object_mut() else { return };
        fill::zero(secret, "type", "Opaque");
        let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
        let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            for (key, text) in texts {
                data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
            }
        }
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        let data = Cursor::top(object, "data");
        let mut bytes = 0;
        for (key, value) in data.entries() {
            validate_key(&value, key, problems);
            bytes += decoded_length(value.text());
        }
        if bytes > config_map::DATA_BYTES_MAX {
            problems.too_long(data, &too_long_detail());
        }
        validate_type(object, &data, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        immutable(&Cursor::top(new, "type"), &Cursor::top(old, "type"), problems);
        validate_immutable(new, old, &["data"], problems);
        self.validate(new, problems);
    }

    /// Whoever makes such a Secret waits for its token.
    fn warnings(&self, object: &Value) -> Vec<String> {
        let data = Cursor::top(object, "data");
        if str_at(object, "type") != SERVICE_ACCOUNT_TOKEN || data.key("token").exists() {
            return Vec::new();
        }
        vec!["type: Berth fills in no tokens of service accounts yet; use kubectl create token, or a projected volume".to_owned()]
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        vec![Selectable::indexed("type", str_at(object, "type"))]
    }

    fn columns(&self) -> Vec<Column> {
        let entries = |object: &Value, _| count(object, &["data"]).into();
        vec![
            Column::of_name(),
            Column::text("Type", 0, "What the secret is for.", "type"),
            Column::new("Data", "string", 0, "How many entries the object holds.", entries),
            Column::of_age(),
        ]
    }
}

/// Each well-known type promises its readers certain keys.
fn validate_type(object: &Value, data: &Cursor<'_>, problems: &mut Problems) {
    let require = |keys: &[&str], problems: &mut Problems| {
        for key in keys.iter().filter(|key| !data.key(key).exists()) {
            problems.required(data.key(key), "");
        }
    };
    match str_at(object, "type") {
        SERVICE_ACCOUNT_TOKEN => {
            let metadata = Cursor::top(object, "metadata");
            let annotations = metadata.child("annotations");
            let account = annotations.key(SERVICE_ACCOUNT_NAME);
            if account.is_empty() {
                problems.required(account, "");
            }
        }
        "kubernetes.io/dockercfg" => validate_json(data, ".dockercfg", problems),
        "kubernetes.io/dockerconfigjson" => validate_json(data, ".dockerconfigjson", problems),
        "kubernetes.io/basic-auth" if !data.key("username").exists() && !data.key("password").exists() => {
            require(&["username", "password"], problems);
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").is_empty() => {
            problems.required(data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"], problems),
        _ => {}
    }
}

fn validate_json(data: &Cursor<'_>, key: &str, problems: &mut Problems) {
    let entry = data.key(key);
    if !entry.exists() {
        problems.required(entry, "");
        return;
    }
    let parsed = STANDARD.decode(entry.text()).ok().map(|bytes| serde_json::from_slice::<Map>(&bytes));
    if !matches!(parsed, Some(Ok(_))) {
        problems.invalid(entry, &"<secret contents redacted>".into(), "must hold a JSON object");
    }
}
