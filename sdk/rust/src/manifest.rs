//! What a policy says about itself.

/// What a policy is and what it wants to be fed. The lists number what they name by their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// Whether it scores, and what its scores depend on.
    pub scores: Scores,
    /// Whether it implements [`crate::Scheduler::plan`].
    pub plans: bool,
    /// What else to be fed.
    pub watches: Watches,
    /// Resources by name.
    pub dimensions: Vec<String>,
    /// Columns with one value per node.
    pub node_columns: Vec<String>,
    /// Columns with one value per candidate of a class.
    pub class_columns: Vec<String>,
    /// Node labels, and after them annotations, make up [`crate::Node::label`].
    pub node_labels: Vec<String>,
    /// Node annotations.
    pub node_annotations: Vec<String>,
    /// Pod labels, and after them annotations, make up [`crate::Class::attribute`].
    pub pod_labels: Vec<String>,
    /// Pod annotations.
    pub pod_annotations: Vec<String>,
    /// Texts for the reasons of actions.
    pub reasons: Vec<String>,
}

/// What a score depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scores {
    /// The policy does not score.
    #[default]
    No = 0,
    /// On the class and on that node alone. The host keeps such scores and asks again only about nodes that changed.
    NodeLocal = 1,
    /// On anything: the host asks for every pod about every candidate.
    ClusterWide = 2,
}

/// What a policy wants to be fed beyond nodes and classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// Devices: [`crate::Cluster::units`].
    pub units: bool,
    /// Bound pods: [`crate::Cluster::pods_on`].
    pub pods: bool,
    /// Groups: [`crate::Cluster::group`].
    pub groups: bool,
}

impl Manifest {
    /// A policy that does nothing yet: say [`Manifest::scores_nodes`], [`Manifest::scores_cluster`] or [`Manifest::plans`].
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            scores: Scores::No,
            plans: false,
            watches: Watches::default(),
            dimensions: Vec::new(),
            node_columns: Vec::new(),
            class_columns: Vec::new(),
            node_labels: Vec::new(),
            node_annotations: Vec::new(),
            pod_labels: Vec::new(),
            pod_annotations: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// The policy scores, and each score depends on the class and on that node alone.
    pub fn scores_nodes(self) -> Self {
        Self { scores: Scores::NodeLocal, ..self }
    }

    /// The policy scores, and its scores may depend on the whole cluster.
    pub fn scores_cluster(self) -> Self {
        Self { scores: Scores::ClusterWide, ..self }
    }

    /// The policy decides for whole batches.
    pub fn plans(self) -> Self {
        Self { plans: true, ..self }
    }

    /// The policy wants to know devices.
    pub fn watches_units(mut self) -> Self {
        self.watches.units = true;
        self
    }

    /// The policy wants to know bound pods.
    pub fn watches_pods(mut self) -> Self {
        self.watches.pods = true;
        self
    }

    /// The policy wants to know groups.
    pub fn watches_groups(mut self) -> Self {
        self.watches.groups = true;
        self
    }

    /// Resources by name; `*` as the last one asks for every other.
    pub fn dimensions<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { dimensions: owned(names), ..self }
    }

    /// Columns with one value per node.
    pub fn node_columns<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { node_columns: owned(names), ..self }
    }

    /// Columns with one value per candidate of a class.
    pub fn class_columns<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { class_columns: owned(names), ..self }
    }

    /// Keys of node labels.
    pub fn node_labels<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { node_labels: owned(keys), ..self }
    }

    /// Keys of node annotations.
    pub fn node_annotations<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { node_annotations: owned(keys), ..self }
    }

    /// Keys of pod labels. Pods that differ in one of them are of different classes: ask for few.
    pub fn pod_labels<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { pod_labels: owned(keys), ..self }
    }

    /// Keys of pod annotations.
    pub fn pod_annotations<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { pod_annotations: owned(keys), ..self }
    }

    /// Texts for people: an action's reason is an index into this list.
    pub fn reasons<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { reasons: owned(texts), ..self }
    }

    /// How many symbols a node's row of labels has.
    pub(crate) fn node_keys(&self) -> usize {
        self.node_labels.len() + self.node_annotations.len()
    }
}

fn owned<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}
