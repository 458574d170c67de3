//! Security contexts.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSecurity {
    pub(crate) run_as_user: Option<u32>,
    pub(crate) run_as_group: Option<u32>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) supplemental_groups: Vec<u32>,
    pub(crate) fs_group: Option<u32>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) seccomp_profile: Option<SeccompProfile>,
    pub(crate) app_armor_profile: Option<AppArmorProfile>,
    pub(crate) se_linux_options: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Sysctl {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SeccompProfile {
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AppArmorProfile {
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerSecurity {
    pub(crate) run_as_user: Option<u32>,
    pub(crate) run_as_group: Option<u32>,
    pub(crate) run_as_non_root: Option<bool>,
    pub(crate) capabilities: Capabilities,
    pub(crate) privileged: bool,
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) seccomp_profile: Option<SeccompProfile>,
    pub(crate) app_armor_profile: Option<AppArmorProfile>,
    pub(crate) proc_mount: String,
    pub(crate) se_linux_options: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Capabilities {
    pub(crate) add: Vec<String>,
    pub(crate) drop: Vec<String>,
}
