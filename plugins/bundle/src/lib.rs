//! The built-in policies as compiled components, for the binary to install when a cluster starts for the first time.

/// Least allocated first: `plugins/spread`.
pub const SPREAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spread.wasm"));

/// Most allocated first: `plugins/binpack`.
pub const BINPACK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/binpack.wasm"));

/// Where images may come from, and how they are named: `plugins/image-policy`.
pub const IMAGE_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/image-policy.wasm"));

/// Labels that objects must have: `plugins/label-policy`.
pub const LABEL_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/label-policy.wasm"));

/// Requests and limits for containers that have none: `plugins/limits-defaulter`.
pub const LIMITS_DEFAULTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/limits-defaulter.wasm"));

/// Kubernetes' formula: `plugins/target-utilisation`.
pub const TARGET_UTILISATION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/target-utilisation.wasm"));

/// By season and trend: `plugins/predictive`.
pub const PREDICTIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/predictive.wasm"));

/// By thresholds of a metric: `plugins/step`.
pub const STEP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/step.wasm"));

/// By the time of the week: `plugins/schedule`.
pub const SCHEDULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schedule.wasm"));

/// The Pod Security Standards by the labels of namespaces: `plugins/pod-security`.
pub const POD_SECURITY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pod-security.wasm"));
