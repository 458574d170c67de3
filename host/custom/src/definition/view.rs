//! A definition as its rules see it: what all versions say alike stands once, beside them, under a name of its own.

use berth_api::kinds::view::list_at;
use berth_json::Value;

/// What a version says that all may say alike: its field, and where messages then say that it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Schema,
    Subresources,
    Columns,
    Selectable,
}

impl Part {
    /// The field of a version.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Subresources => "subresources",
            Self::Columns => "additionalPrinterColumns",
            Self::Selectable => "selectableFields",
        }
    }

    /// The place of what all versions say.
    pub(super) const fn shared_path(self) -> &'static str {
        match self {
            Self::Schema => "spec.validation",
            Self::Subresources => "spec.subresources",
            Self::Columns => "spec.additionalPrinterColumns",
            Self::Selectable => "spec.selectableFields",
        }
    }
}

/// What all versions say alike; `None` when they differ or there are none, null when no version says anything.
pub(super) fn shared(definition: &Value, part: Part) -> Option<&Value> {
    let versions = list_at(definition, "spec.versions");
    let of = |version: &'_ Value| version.get(part.field()).cloned().unwrap_or_default();
    let first = of(versions.first()?);
    let same = versions.iter().all(|version| of(version) == first);
    same.then(|| versions[0].get(part.field()).unwrap_or(&Value::Null))
}

/// What a version of a definition says, said alike by all or by it alone.
pub(super) fn said(version: &Value, part: Part) -> &Value {
    version.get(part.field()).unwrap_or(&Value::Null)
}

/// The schemas of all versions that have one.
pub(super) fn schemas(definition: &Value) -> impl Iterator<Item = &Value> {
    let versions = list_at(definition, "spec.versions").iter();
    versions
        .filter_map(|version| version.pointer("/schema/openAPIV3Schema"))
        .filter(|schema| !schema.is_null())
}

/// The name of the version in which objects are stored.
pub(crate) fn storage_version(definition: &Value) -> Option<&str> {
    let mut versions = list_at(definition, "spec.versions").iter();
    versions.find(|version| version["storage"] == true)?.get("name")?.as_str()
}

/// Whether objects of other versions are made by a webhook, which nobody calls here.
pub(crate) fn has_webhook(definition: &Value) -> bool {
    definition.pointer("/spec/conversion/strategy").is_some_and(|strategy| strategy == "Webhook")
}
