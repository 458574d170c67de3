//! What a policy says about itself.

use berth_json::{Value, json};

/// What a policy is and what it wants to be fed; the lists number what they name by their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// Whether it scores, and what its scores depend on.
    pub scores: Scores,
    /// Whether it answers [`super::Policy::plan`].
    pub plans: bool,
    /// What else to feed.
    pub watches: Watches,
    /// Resources by name; a last `*` asks for every other resource any node has.
    pub dimensions: Vec<String>,
    /// Columns with one value per node.
    pub node_columns: Vec<String>,
    /// Columns with one value per candidate of a class.
    pub class_columns: Vec<String>,
    /// Node labels whose values are wanted.
    pub node_labels: Vec<String>,
    /// Node annotations whose values are wanted.
    pub node_annotations: Vec<String>,
    /// Pod labels whose values make classes.
    pub pod_labels: Vec<String>,
    /// Pod annotations whose values make classes.
    pub pod_annotations: Vec<String>,
    /// Texts for an action's reason.
    pub reasons: Vec<String>,
}

/// What a score depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scores {
    /// The policy does not score.
    #[default]
    No,
    /// On the class and on that node alone: scores may be kept until the node changes.
    NodeLocal,
    /// On anything: ask for every pod.
    ClusterWide,
}

/// What a policy wants to be fed beyond nodes and classes, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watches(pub u32);

impl Watches {
    /// Devices.
    pub const UNITS: Self = Self(1);
    /// Bound pods.
    pub const PODS: Self = Self(2);
    /// Groups of pods.
    pub const GROUPS: Self = Self(4);
    const ALL: u32 = 7;

    /// Whether all of `other` is wanted.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The columns a host offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'a> {
    /// One value per node.
    pub node: &'a [&'a str],
    /// One value per candidate of a class.
    pub class: &'a [&'a str],
}

/// Why a manifest is not acceptable. Each text is one sentence for the plugin's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It has no name.
    #[error("the plugin's manifest has no name")]
    NoName,
    /// It does nothing.
    #[error("the plugin neither scores nor plans, so that it could never place a pod")]
    DoesNothing,
    /// It asks to watch what this host does not know.
    #[error("the plugin wants to watch {0:#x}, of which this host knows only the bits {known:#x}", known = Watches::ALL)]
    UnknownWatches(u32),
    /// It subscribes to columns this host does not offer.
    #[error("the plugin subscribes to {kind} columns that this host does not offer: {names}", names = .names.join(", "))]
    UnknownColumns {
        /// `node` or `class`.
        kind: &'static str,
        /// All that are not offered.
        names: Vec<String>,
    },
    /// It names one thing twice.
    #[error("the plugin's manifest names {name} twice in {list}")]
    Duplicate {
        /// Which list.
        list: &'static str,
        /// Which entry.
        name: String,
    },
    /// `*` is not the last dimension.
    #[error("in the plugin's manifest * must be the last dimension")]
    MisplacedRest,
}

impl Manifest {
    /// The name that stands for every other dimension.
    pub const REST: &'static str = "*";

    /// As a binding's status shows it; lists that are empty are left out.
    pub fn to_value(&self) -> Value {
        let mut shown = json!({"name": self.name.as_str(), "version": self.version.as_str()});
        let scores = match self.scores {
            Scores::No => None,
            Scores::NodeLocal => Some("node-local"),
            Scores::ClusterWide => Some("cluster-wide"),
        };
        if let Some(scores) = scores {
            shown["scores"] = scores.into();
        }
        if self.plans {
            shown["plans"] = true.into();
        }
        let lists = [
            ("dimensions", &self.dimensions),
            ("nodeColumns", &self.node_columns),
            ("classColumns", &self.class_columns),
            ("nodeLabels", &self.node_labels),
            ("nodeAnnotations", &self.node_annotations),
            ("podLabels", &self.pod_labels),
            ("podAnnotations", &self.pod_annotations),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            shown[name] = list.iter().map(|item| Value::from(item.as_str())).collect();
        }
        shown
    }

    /// How many symbols a node's row of labels has.
    pub fn node_keys(&self) -> usize {
        self.node_labels.len() + self.node_annotations.len()
    }

    /// How many symbols a class's row of attributes has.
    pub fn pod_keys(&self) -> usize {
        self.pod_labels.len() + self.pod_annotations.len()
    }

    /// The dimensions that are named, and whether all others are wanted too.
    pub fn named_dimensions(&self) -> (&[String], bool) {
        match self.dimensions.split_last() {
            Some((last, named)) if last == Self::REST => (named, true),
            _ => (&self.dimensions, false),
        }
    }

    /// Checks everything that can be known without running the policy.
    pub fn check(&self, offered: Columns<'_>) -> Result<(), ManifestError> {
        if self.name.is_empty() {
            return Err(ManifestError::NoName);
        }
        if self.scores == Scores::No && !self.plans {
            return Err(ManifestError::DoesNothing);
        }
        if self.watches.0 & !Watches::ALL != 0 {
            return Err(ManifestError::UnknownWatches(self.watches.0));
        }
        if self.named_dimensions().0.iter().any(|name| name == Self::REST) {
            return Err(ManifestError::MisplacedRest);
        }
        known_columns("node", &self.node_columns, offered.node)?;
        known_columns("class", &self.class_columns, offered.class)?;
        self.check_duplicates()
    }

    fn check_duplicates(&self) -> Result<(), ManifestError> {
        let lists = [
            ("dimensions", &self.dimensions),
            ("node-columns", &self.node_columns),
            ("class-columns", &self.class_columns),
            ("node-labels", &self.node_labels),
            ("node-annotations", &self.node_annotations),
            ("pod-labels", &self.pod_labels),
            ("pod-annotations", &self.pod_annotations),
        ];
        for (list, names) in lists {
            let mut seen = std::collections::HashSet::new();
            if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
                return Err(ManifestError::Duplicate { list, name: name.clone() });
            }
        }
        Ok(())
    }
}

fn known_columns(kind: &'static str, wanted: &[String], offered: &[&str]) -> Result<(), ManifestError> {
    let names: Vec<String> =
        wanted.iter().filter(|name| !offered.contains(&name.as_str())).cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(ManifestError::UnknownColumns { kind, names }) }
}
