//! The standards by name, and which of them a namespace asks for.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// What the labels by which a namespace names its standards begin with, and the notes for the log, too.
pub(crate) const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict a standard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Anything goes.
    #[default]
    Privileged,
    /// Nothing that is known to give power over the host.
    Baseline,
    /// What is known to harden a pod, besides.
    Restricted,
}

/// As of when: controls came to the standards, and some changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Version {
    /// As in Kubernetes 1.x.
    Minor(u32),
    /// As known here.
    #[default]
    Latest,
}

/// A level as of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standard {
    pub(crate) level: Level,
    pub(crate) version: Version,
}

/// What a namespace asks of its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Pods that violate it are refused.
    pub(crate) enforce: Standard,
    /// What violates it is noted in the log.
    pub(crate) audit: Standard,
    /// Who makes what violates it is warned.
    pub(crate) warn: Standard,
}

impl Modes {
    /// What the labels of a namespace say, where they say nothing `self`; and what is wrong with them. A label that means nothing
    /// counts as the strictest standard where pods are refused, and as none elsewhere.
    pub(crate) fn labelled<'l>(mut self, label: impl Fn(&str) -> Option<&'l str>) -> (Self, Vec<String>) {
        let label = |key: &str| label(&format!("{PREFIX}{key}"));
        let mut wrong = Vec::new();
        let mut refuse = |key: &str, text: &str, why: &str| {
            wrong.push(format!("metadata.labels[{PREFIX}{key}]: Invalid value: {text:?}: {why}"));
        };
        for (mode, standard, otherwise) in [
            ("enforce", &mut self.enforce, Level::Restricted),
            ("audit", &mut self.audit, Level::Privileged),
            ("warn", &mut self.warn, Level::Privileged),
        ] {
            if let Some(text) = label(mode) {
                standard.level = text.parse().unwrap_or_else(|why| {
                    refuse(mode, text, why);
                    otherwise
                });
            }
            let key = format!("{mode}-version");
            if let Some(text) = label(&key) {
                standard.version = text.parse().unwrap_or_else(|why| {
                    refuse(&key, text, why);
                    Version::Latest
                });
            }
        }
        // Who enforces a standard is warned of it in workloads, unless he names another for that.
        let is_stricter = self.enforce.level > self.warn.level;
        if is_stricter && label("enforce").is_some() && label("warn").is_none() {
            self.warn.level = self.enforce.level;
            if label("warn-version").is_none() {
                self.warn.version = self.enforce.version;
            }
        }
        (self, wrong)
    }

    /// By name, in the order in which they are shown.
    pub(crate) fn each(&self) -> [(&'static str, Standard); 3] {
        [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)]
    }
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let is_padded = digits.len() > 1 && digits.starts_with('0');
            digits.parse().ok().filter(|_| is_plain && !is_padded)
        };
        match text.strip_prefix("v1.") {
            None if text == "latest" => Ok(Self::Latest),
            minor => minor.and_then(number).map(Self::Minor).ok_or("must be \"latest\" or \"v1.x\""),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
            Version::Latest => write!(f, "{level}:latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            ("latest", Some(Version::Latest)),
            ("v1.0", Some(Version::Minor(0))),
            ("v1.37", Some(Version::Minor(37))),
            ("", None),
            ("v1", None),
            ("v1.", None),
            ("v1.07", None),
            ("v1.-1", None),
            ("v1.+1", None),
            ("v2.0", None),
            ("1.2", None),
            ("Latest", None),
            ("v1.3 ", None),
            ("v1.99999999999", None),
        ] {
            assert_eq!(text.parse().ok(), version, "{text:?}");
        }
    }

    #[test]
    fn labels_say_what_is_asked() {
        let own = Modes { audit: "restricted:v1.20".parse().expect("a standard"), ..Modes::default() };
        for (labels, enforce, audit, warn) in [
            (&[][..], "privileged:latest", "restricted:v1.20", "privileged:latest"),
            (&[("enforce", "baseline")], "baseline:latest", "restricted:v1.20", "baseline:latest"),
            (
                &[("enforce", "baseline"), ("enforce-version", "v1.30"), ("audit", "baseline")],
                "baseline:v1.30",
                "baseline:v1.20",
                "baseline:v1.30",
            ),
            (
                &[("enforce", "baseline"), ("enforce-version", "v1.30"), ("warn-version", "v1.20")],
                "baseline:v1.30",
                "restricted:v1.20",
                "baseline:v1.20",
            ),
            (
                &[("enforce", "restricted"), ("warn", "privileged"), ("audit-version", "latest")],
                "restricted:latest",
                "restricted:latest",
                "privileged:latest",
            ),
            (
                &[("enforce", "strict"), ("enforce-version", "new"), ("audit", "no"), ("warn", "no")],
                "restricted:latest",
                "privileged:v1.20",
                "privileged:latest",
            ),
        ] {
            let label = |key: &str| labels.iter().find(|(name, _)| key.strip_prefix(PREFIX) == Some(name));
            let (modes, _) = own.labelled(|key| label(key).map(|(_, value)| *value));
            let found = modes.each().map(|(_, standard)| standard.to_string());
            assert_eq!(found, [enforce, audit, warn], "{labels:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_labels_is_said() {
        let (_, wrong) =
            Modes::default().labelled(|key| Some(if key.ends_with("warn") { "some" } else { "latest" }));
        let said = |mode: &str, value: &str| {
            format!(
                "metadata.labels[pod-security.kubernetes.io/{mode}]: Invalid value: \"{value}\": must be one of privileged, \
                 baseline, restricted"
            )
        };
        assert_eq!(wrong, [said("enforce", "latest"), said("audit", "latest"), said("warn", "some")]);
    }

    impl FromStr for Standard {
        type Err = &'static str;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            let (level, version) = text.split_once(':').ok_or("<level>:<version>")?;
            Ok(Self { level: level.parse()?, version: version.parse()? })
        }
    }
}
