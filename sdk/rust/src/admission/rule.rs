//! What a policy says about itself.

/// What a policy is, and what it wants to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// Whether it changes objects.
    pub mutates: Mutates,
    /// It is asked when one of them matches.
    pub rules: Vec<Rule>,
}

/// Whether a policy changes objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutates {
    /// It only refuses: it is asked about the object that will be stored.
    #[default]
    No = 0,
    /// It changes objects.
    Once = 1,
    /// It changes objects, and is asked once more when a later policy has changed one again.
    Again = 2,
}

/// Which writes to ask about: all of its conditions hold. Fields that are empty hold for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// API groups: `apps`, an empty text for the core group, `*` for any.
    pub groups: Vec<String>,
    /// `pods`, `pods/status`, `pods/*`, `*`, `*/*`.
    pub resources: Vec<String>,
    /// Bits: 1 create, 2 update, 4 delete.
    pub operations: u32,
    /// Names of namespaces.
    pub namespaces: Vec<String>,
    /// A label selector for the object.
    pub selector: String,
    /// A label selector for its namespace.
    pub namespace_selector: String,
}

impl Manifest {
    /// A policy that asks about nothing yet, and only refuses.
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), mutates: Mutates::No, rules: Vec::new() }
    }

    /// The policy changes objects.
    pub fn mutates(self) -> Self {
        Self { mutates: Mutates::Once, ..self }
    }

    /// The policy changes objects, and is asked once more when a later policy has changed one again.
    pub fn mutates_again(self) -> Self {
        Self { mutates: Mutates::Again, ..self }
    }

    /// Adds a rule.
    pub fn asks_about(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl Rule {
    /// Writes of a resource, such as `("apps", "deployments")` or `("", "pods/status")`; say which operations.
    pub fn of(group: &str, resource: &str) -> Self {
        Self { groups: vec![group.to_owned()], resources: vec![resource.to_owned()], ..Self::default() }
    }

    /// Adds another resource of the same groups.
    pub fn and(mut self, resource: &str) -> Self {
        self.resources.push(resource.to_owned());
        self
    }

    /// When it comes into being.
    pub fn on_create(self) -> Self {
        Self { operations: self.operations | 1, ..self }
    }

    /// When it is replaced or patched.
    pub fn on_update(self) -> Self {
        Self { operations: self.operations | 2, ..self }
    }

    /// When it is deleted.
    pub fn on_delete(self) -> Self {
        Self { operations: self.operations | 4, ..self }
    }

    /// In namespaces of these names only.
    pub fn in_namespaces<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { namespaces: names.into_iter().map(str::to_owned).collect(), ..self }
    }

    /// Of objects with these labels only, as `kubectl --selector` has it.
    pub fn with_labels(self, selector: &str) -> Self {
        Self { selector: selector.to_owned(), ..self }
    }

    /// In namespaces with these labels only.
    pub fn in_namespaces_with_labels(self, selector: &str) -> Self {
        Self { namespace_selector: selector.to_owned(), ..self }
    }
}
