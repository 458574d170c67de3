//! Field selectors: `metadata.name=x,status.phase!=Running`.

/// A conjunction of requirements on fields; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// All must hold.
    pub requirements: Vec<FieldRequirement>,
}

/// One requirement on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, e.g. `spec.nodeName`.
    pub field: String,
    /// Whether the value must be equal (else: must differ).
    pub equal: bool,
    /// The value.
    pub value: String,
}

impl FieldSelector {
    /// Reads the text of a `fieldSelector` parameter. `\` escapes a comma, an equals sign or itself.
    ///
    /// # Errors
    /// One sentence as the API server words it; the answer is 400 with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        unimplemented!()
    }

    /// Checks that every field is one that the kind can be selected by (`metadata.name`, `metadata.namespace` and
    /// `known`).
    ///
    /// # Errors
    /// One sentence as the API server words it for this kind; the answer is 400 with it.
    pub fn check(&self, kind: &str, known: &[&str]) -> Result<(), String> {
        unimplemented!()
    }

    /// Whether all requirements hold; `value` gives a field's value (absent counts as empty).
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        unimplemented!()
    }

    /// The value that `field` must have, when the selector pins it.
    pub fn pinned(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.equal && r.field == field).map(|r| r.value.as_str())
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}
