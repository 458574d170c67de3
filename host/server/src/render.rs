//! Objects and lists in the form that was asked for.

use berth_api::table::{self, IncludeObject};
use berth_api::{Reason, Resource, Status, Timestamp};
use berth_client::Body;
use berth_json::{Value, json};
use berth_pipeline::{Answer, Shown};
use berth_state::Stored;
use http::Response;
use std::sync::Arc;
use std::vec;

use crate::negotiate::{Encoding, Form, Transform};
use crate::parts;
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
pub(crate) fn page(resource: &Arc<Resource>, page: Page, form: Form, context: Context) -> Handled {
    let mut metadata = page.metadata();
    if resource.is_custom && form.transform == Transform::None && metadata.get("continue").is_none() {
        // The API server has no type for these lists: what others leave out is empty there.
        metadata["continue"] = "".into();
    }
    match form.transform {
        Transform::None if form.encoding == Encoding::Json => Ok(json_list(resource, page.items, &metadata)),
        _ => list(resource, page.values(resource), metadata, form, context),
    }
}

/// A collection of objects that are stored nowhere, and so have no revision.
pub(crate) fn values(resource: &Resource, objects: Vec<Value>, form: Form, context: Context) -> Handled {
    list(resource, objects, json!({}), form, context)
}

fn list(resource: &Resource, objects: Vec<Value>, metadata: Value, form: Form, context: Context) -> Handled {
    let list = match form.transform {
        Transform::None => {
            let items: Vec<Value> = objects.into_iter().map(|object| bare(resource, object)).collect();
            json!({
                "kind": resource.list_kind, "apiVersion": resource.api_version(),
                "metadata": metadata, "items": items,
            })
        }
        Transform::Table(version) => {
            let (include, now) = (context.include, context.now);
            table::table(resource, &objects, metadata, include, version.as_str(), now)
        }
        Transform::MetadataList(version) => {
            table::partial_object_metadata_list(&objects, metadata, version.as_str())
        }
        Transform::Metadata(_) => return Err(is_a_list(resource)),
    };
    Ok(respond::value(200, form.encoding, &list))
}

/// The list in JSON, out of the stored bytes: nothing is parsed. A large one is written while it is sent: neither does it lie in
/// memory as a whole, nor does it keep a thread from answering others.
fn json_list(resource: &Arc<Resource>, items: Vec<Arc<Stored>>, metadata: &Value) -> Response<Body> {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        resource.list_kind,
        resource.api_version(),
    );
    let size: usize = items.iter().map(|item| item.bytes().len() + 40).sum();
    let mut list = JsonList {
        resource: resource.clone(),
        items: items.into_iter(),
        head: head.into_bytes(),
        is_over: false,
    };
    if size < CHUNK_BYTES * 8 {
        list.head.reserve(size);
        return respond::answer(200, "application/json", list.chunk(usize::MAX).unwrap_or_default());
    }
    let body = parts::body(move || list.chunk(CHUNK_BYTES));
    parts::mark(respond::streamed(200, "application/json", body))
}

/// How much of a list is written at a time: some 10 µs of work, and half a millisecond where it is compressed.
const CHUNK_BYTES: usize = 64 * 1024;

/// A list that is being written.
struct JsonList {
    resource: Arc<Resource>,
    items: vec::IntoIter<Arc<Stored>>,
    /// What stands before the first item, until it is written.
    head: Vec<u8>,
    is_over: bool,
}

impl JsonList {
    /// The next part, of at least so many bytes but at the end; `None` after it.
    fn chunk(&mut self, bytes: usize) -> Option<Vec<u8>> {
        if self.is_over {
            return None;
        }
        let mut chunk = std::mem::take(&mut self.head);
        while chunk.len() < bytes {
            let Some(item) = self.items.next() else {
                chunk.extend_from_slice(b"]}");
                self.is_over = true;
                break;
            };
            item.write_json(&mut chunk, &self.resource, self.resource.is_custom);
            if self.items.len() > 0 {
                chunk.push(b',');
            }
        }
        Some(chunk)
    }
}

/// An object as it stands in a list: of a built-in kind without kind and apiVersion.
fn bare(resource: &Resource, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut().filter(|_| !resource.is_custom) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
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

#[cfg(test)]
mod tests {
    use berth_state::{Draft, Key, Revision, conformance};

    use super::*;

    fn list(resource: &Arc<Resource>, count: u64) -> JsonList {
        let stored = |n: u64| {
            let name = format!("o{n}");
            let object = json!({"metadata": {"name": name, "uid": name}, "text": "x".repeat(100)});
            let draft = Draft::encode(resource, &object, None).unwrap();
            Arc::new(Stored::new(Key::new(resource.id.clone(), "", name), Revision(n + 1), draft))
        };
        let items: Vec<_> = (0..count).map(stored).collect();
        let head = b"{\"items\":[".to_vec();
        JsonList { resource: resource.clone(), items: items.into_iter(), head, is_over: false }
    }

    #[test]
    fn a_list_in_parts_is_the_whole_list() {
        let resource = Arc::new(conformance::resource());
        for count in [0, 1, 2, 50] {
            let whole = list(&resource, count).chunk(usize::MAX).unwrap();
            let value: Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(value["items"].as_array().map(Vec::len), Some(count as usize));
            for bytes in [1, 150, 1_000, 1 << 20] {
                let mut parts = list(&resource, count);
                let joined: Vec<u8> = std::iter::from_fn(|| parts.chunk(bytes)).flatten().collect();
                assert!(joined == whole, "{count} objects in parts of {bytes} bytes");
            }
        }
    }
}
