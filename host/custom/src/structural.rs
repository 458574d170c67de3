//! A structural schema: what `openAPIV3Schema` says of one place in an object, ready to be used.

mod checks;
mod parse;

use std::collections::BTreeMap;

use berth_json::{Text, Value};

pub(crate) use checks::{Checks, Limit, Number, Pattern, is_whole};
pub use parse::SchemaError;

/// One place of a structural schema, with the places below it.
#[derive(Clone, Debug, Default)]
pub struct Structural {
    /// `type`; none where anything may stand.
    pub json_type: Option<JsonType>,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// Whether null may stand here.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`: a whole object with `apiVersion`, `kind` and `metadata`.
    pub embedded: bool,
    /// What stands here when nothing does.
    pub default: Option<Value>,
    /// The fields that are known by name.
    pub properties: BTreeMap<Text, Structural>,
    /// The other fields.
    pub additional: Additional,
    /// The elements of a list.
    pub items: Option<Box<Structural>>,
    /// How the elements of a list are told apart.
    pub list: ListType,
    /// `x-kubernetes-map-type: atomic`: the object is one value.
    pub is_atomic: bool,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    pub(crate) checks: Option<Box<Checks>>,
    pub(crate) within: Within,
}

/// What stands at a place or anywhere below it, so that walks that look for it go no further than they must.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Within {
    /// An object in the object.
    pub(crate) embedded: bool,
    /// A list that is a set, or of objects with keys.
    pub(crate) told_apart: bool,
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is JSON Schema's own word
pub enum JsonType {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

/// `additionalProperties`.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Not said.
    #[default]
    None,
    /// `true`: there may be others, whose insides nobody knows; `false`: there may be none.
    Allowed(bool),
    /// Each other field is one of these.
    Schema(Box<Structural>),
}

/// `x-kubernetes-list-type`, with `x-kubernetes-list-map-keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// A set of values.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<Text>),
}

/// One of `x-kubernetes-validations`, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression.
    pub rule: String,
    /// What is said when it does not hold; empty when nothing was written.
    pub message: String,
    /// An expression that says it; empty when nothing was written.
    pub message_expression: String,
    /// The cause's type; empty means `FieldValueInvalid`.
    pub reason: String,
    /// The field that is wrong, below the rule's place; empty means the place itself.
    pub field_path: String,
    /// Whether the rule holds for a new value as well, `oldSelf` then being empty; none when not said.
    pub optional_old_self: Option<bool>,
}

impl JsonType {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 6] =
        [Self::Array, Self::Boolean, Self::Integer, Self::Number, Self::Object, Self::String];

    /// The word in a schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    /// The type of that name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|json_type| json_type.as_str() == word)
    }
}

impl Structural {
    /// Reads a schema as a definition gives it.
    ///
    /// # Errors
    /// What is no schema, is not structural, or is larger than [`parse`] allows.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        parse::parse(schema)
    }

    /// What a field of an object is; none when the schema does not know it.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// Whether a default stands anywhere below.
    pub fn has_defaults(&self) -> bool {
        let below = self.properties.values().chain(self.items.as_deref());
        let others = match &self.additional {
            Additional::Schema(schema) => Some(&**schema),
            _ => None,
        };
        below.chain(others).any(|place| place.default.is_some() || place.has_defaults())
    }

    /// Whether a rule stands here or anywhere below.
    pub fn has_rules(&self) -> bool {
        let in_clauses =
            || self.checks.as_ref().is_some_and(|checks| checks.all_of.iter().any(Self::has_rules));
        !self.rules.is_empty()
            || self.properties.values().any(Self::has_rules)
            || self.items.as_ref().is_some_and(|items| items.has_rules())
            || matches!(&self.additional, Additional::Schema(schema) if schema.has_rules())
            || in_clauses()
    }

    /// The schema of a whole object: the same, with `apiVersion`, `kind` and `metadata` of its own.
    pub(crate) fn is_whole_object(&self, is_root: bool) -> bool {
        is_root || self.embedded
    }
}

/// The fields that every whole object has.
pub(crate) fn is_meta_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}
