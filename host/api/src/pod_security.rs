//! The Pod Security Standards as a pure function: from a standard and a pod to what the pod does against it.

mod baseline;
mod checks;
mod pod;
mod restricted;
#[cfg(test)]
mod tests;

pub use checks::{Level, Standard, Version, Violation};
pub use pod::seccomp_annotations;

/// What the labels begin with by which a namespace names its standards; then comes `/<mode>` or `/<mode>-version`.
pub const LABELS: &str = "pod-security.kubernetes.io";

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What its pods must keep to.
    pub enforce: Standard,
    /// What whoever makes its pods is warned of.
    pub warn: Standard,
}

impl Policy {
    /// Labels that cannot be read count as the strictest standard where pods are refused, and as none where they are warned
    /// of. Who names no standard to warn of is warned of the one that is enforced.
    pub fn of<'l>(label: impl Fn(&str) -> Option<&'l str>) -> Self {
        let named = |mode: &str, part: &str| label(&format!("{LABELS}/{mode}{part}"));
        let version =
            |mode: &str| named(mode, "-version").map(|text| Version::parse(text).unwrap_or(Version::Latest));
        let enforce_level = named("enforce", "").map(|text| Level::parse(text).unwrap_or(Level::Restricted));
        let warn_level = named("warn", "").map(|text| Level::parse(text).unwrap_or(Level::Privileged));
        let enforce = Standard {
            level: enforce_level.unwrap_or(Level::Privileged),
            version: version("enforce").unwrap_or(Version::Latest),
        };
        let warn = Standard {
            level: warn_level.unwrap_or(enforce.level),
            version: version("warn").unwrap_or(match warn_level {
                None => enforce.version,
                Some(_) => Version::Latest,
            }),
        };
        Self { enforce, warn }
    }
}
