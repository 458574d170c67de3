//! Volumes of a pod spec.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::container::Amount;
use super::{FieldRef, ResourceFieldRef};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) empty_dir: Option<EmptyDir>,
    pub(crate) host_path: Option<HostPath>,
    pub(crate) config_map: Option<ConfigMapVolume>,
    pub(crate) secret: Option<SecretVolume>,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: Option<DownwardVolume>,
    pub(crate) projected: Option<Projected>,
    /// Whatever else the volume says: a type that this node does not know.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

impl Volume {
    /// Whether the node writes its files, and keeps them up to date while containers run.
    pub(crate) fn is_written_by_node(&self) -> bool {
        self.config_map.is_some()
            || self.secret.is_some()
            || self.downward_api.is_some()
            || self.projected.is_some()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EmptyDir {
    pub(crate) medium: String,
    pub(crate) size_limit: Option<Amount>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostPath {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConfigMapVolume {
    pub(crate) name: String,
    pub(crate) items: Vec<KeyToPath>,
    pub(crate) default_mode: Option<u32>,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SecretVolume {
    pub(crate) secret_name: String,
    pub(crate) items: Vec<KeyToPath>,
    pub(crate) default_mode: Option<u32>,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeyToPath {
    pub(crate) key: String,
    pub(crate) path: String,
    pub(crate) mode: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DownwardVolume {
    pub(crate) items: Vec<DownwardItem>,
    pub(crate) default_mode: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DownwardItem {
    pub(crate) path: String,
    pub(crate) field_ref: Option<FieldRef>,
    pub(crate) resource_field_ref: Option<ResourceFieldRef>,
    pub(crate) mode: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Projected {
    pub(crate) sources: Vec<Projection>,
    pub(crate) default_mode: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Projection {
    pub(crate) config_map: Option<ProjectedObject>,
    pub(crate) secret: Option<ProjectedObject>,
    #[serde(rename = "downwardAPI")]
    pub(crate) downward_api: Option<DownwardVolume>,
    pub(crate) service_account_token: Option<TokenProjection>,
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProjectedObject {
    pub(crate) name: String,
    pub(crate) items: Vec<KeyToPath>,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TokenProjection {
    pub(crate) audience: String,
    pub(crate) expiration_seconds: Option<u64>,
    pub(crate) path: String,
}
