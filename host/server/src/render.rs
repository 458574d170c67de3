//! Objects and lists in the form that was asked for.

use berth_api::table::{self, IncludeObject};
use berth_api::{Reason, Resource, Status, Timestamp};
use berth_client::Body;
use berth_json::{Value, json};
use berth_pipeline::{Answer, Shown};
use berth_state::Stored;
use http::Response;
use std::sync::Arc;

use crate::negotiate::{Encoding, Form, Transform};
use crate::query::Query;
use crate::respond;
use crate::server::Handled;

/// What a table shows, and when.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    pub(crate) include: IncludeObject,
    pub(crate) now: Timestamp,
}

/// A list that is to be answered.
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Stored>>,
    pub(crate) resource_version: String,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl Context {
    /// Reads `includeObject`.
    pub(crate) fn read(query: &Query, now: Timestamp) -> Result<Self, Status> {
        let include = IncludeObject::parse(query.text("includeObject")).map_err(Status::bad_request)?;
        Ok(Self { include, now })
    }
}

/// What a write is answered with.
pub(crate) fn answer(answer: &Answer, resource: &Resource, form: Form, context: Context) -> Handled {
    match &answer.shown {
        Shown::Stored(_, object) => stored(answer.code, resource, object, form, context),
        Shown::Value(object) => value(answer.code, resource, object, form, context),
    }
}

/// One object, as it is stored.
pub(crate) fn stored(
    code: u16,
    resource: &Resource,
    object: &Stored,
    form: Form,
    context: Context,
) -> Handled {
    if form == crate::negotiate::JSON {
        let mut bytes = Vec::new();
        object.write_json(&mut bytes, resource, true);
        return Ok(respond::answer(code, "application/json", bytes));
    }
    value(code, resource, &object.to_value(resource), form, context)
}

/// One object with kind and apiVersion; of other kinds only a Scale is transformed (a Status is not).
pub(crate) fn value(code: u16, resource: &Resource, object: &Value, form: Form, context: Context) -> Handled {
    let own = object["kind"] == resource.kind.as_str();
    let metadata = || match &object["metadata"]["resourceVersion"] {
        Value::Null => json!({}),
        revision => json!({ "resourceVersion": revision }),
    };
    let shown = match form.transform {
        Transform::Table(version) if object["kind"] == "Scale" => {
            table::scale_table(object, metadata(), context.include, version.as_str(), context.now)
        }
        _ if !own => return Ok(respond::value(code, form.encoding, object)),
        Transform::None => return Ok(respond::value(code, form.encoding, object)),
        Transform::Table(version) => {
            table::table(resource, [object], metadata(), context.include, version.as_str(), context.now)
        }
        Transform::Metadata(version) => table::partial_object_metadata(object, version.as_str()),
        Transform::MetadataList(_) => return Err(not_a_list(resource)),
    };
    Ok(respond::value(code, form.encoding, &shown))
}

/// A page of a collection.
pub(crate) fn page(resource: &Resource, page: &Page, form: Form, context: Context) -> Handled {
    let mut metadata = page.metadata();
    if resource.is_custom && form.transform == Transform::None && metadata.get("continue").is_none() {
        // The API server has no type for these lists: what others leave out is empty there.
        metadata["continue"] = "".into();
    }
    match form.transform {
        Transform::None if form.encoding == Encoding::Json => Ok(json_list(resource, page, &metadata)),
        Transform::None => {
            let items: Vec<Value> = page.items.iter().map(|item| bare(resource, item)).collect();
            let list = json!({
                "kind": resource.list_kind, "apiVersion": resource.api_version(),
                "metadata": metadata, "items": items,
            });
            Ok(respond::value(200, form.encoding, &list))
        }
        Transform::Table(version) => {
            let objects = page.values(resource);
            let (include, now) = (context.include, context.now);
            let table = table::table(resource, &objects, metadata, include, version.as_str(), now);
            Ok(respond::value(200, form.encoding, &table))
        }
        Transform::MetadataList(version) => {
            let objects = page.values(resource);
            let list = table::partial_object_metadata_list(&objects, metadata, version.as_str());
            Ok(respond::value(200, form.encoding, &list))
        }
        Transform::Metadata(_) => Err(is_a_list(resource)),
    }
}

/// The list in JSON, out of the stored bytes: nothing is parsed.
fn json_list(resource: &Resource, page: &Page, metadata: &Value) -> Response<Body> {
    let size: usize = page.items.iter().map(|item| item.bytes().len() + 40).sum();
    let mut bytes = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        resource.list_kind,
        resource.api_version(),
    );
    bytes.extend_from_slice(head.as_bytes());
    for (at, item) in page.items.iter().enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        item.write_json(&mut bytes, resource, resource.is_custom);
    }
    bytes.extend_from_slice(b"]}");
    respond::answer(200, "application/json", bytes)
}

/// An object as it stands in a list: of a built-in kind without kind and apiVersion.
fn bare(resource: &Resource, item: &Stored) -> Value {
    let mut value = item.to_value(resource);
    if let Some(fields) = value.as_object_mut().filter(|_| !resource.is_custom) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    value
}

impl Page {
    fn values(&self, resource: &Resource) -> Vec<Value> {
        self.items.iter().map(|item| item.to_value(resource)).collect()
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.resource_version });
        if let Some(token) = &self.continue_token {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

fn not_a_list(resource: &Resource) -> Status {
    let kind = go_type(resource);
    let message =
        format!("you requested PartialObjectMetadataList, but the requested object is not a list (*{kind})");
    Status::new(Reason::NotAcceptable, message)
}

fn is_a_list(resource: &Resource) -> Status {
    let kind = go_type(resource);
    let message =
        format!("you requested PartialObjectMetadata, but the requested object is a list (*{kind}List)");
    Status::new(Reason::NotAcceptable, message)
}

/// The kind as Go's messages name it: `core.ConfigMap`.
fn go_type(resource: &Resource) -> String {
    let package = match resource.group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    format!("{package}.{}", resource.kind)
}
