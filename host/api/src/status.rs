//! `meta/v1.Status`: every error a client sees, worded and coded as the Kubernetes API server does.

use berth_json::{Value, json};

use crate::resource::Resource;

/// The machine-readable `reason` of a failure (`metav1.StatusReason`), each with its HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name is the API's own word
pub enum Reason {
    Unknown,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

impl Reason {
    /// The HTTP code a failure with this reason is answered with.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::Unknown | Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The word in the `reason` field; empty for [`Reason::Unknown`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }
}

/// One entry of `details.causes`: which field is wrong and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, … (`metav1.CauseType`).
    pub reason: &'static str,
    /// What is wrong, e.g. `Required value` or `Invalid value: -1: must be greater than or equal to 0`.
    pub message: String,
    /// The field's path from the object's root, e.g. `spec.containers[0].name`.
    pub field: String,
}

/// How many problems of one object are told, and how long they may be together: nobody reads more, and a body that
/// is wrong in each of a hundred thousand places must not cost a hundred times what it is.
const PROBLEMS_MAX: usize = 1000;
const PROBLEMS_BYTES_MAX: usize = 1 << 20;
/// How many problems that may stay are told of: an answer carries but a few headers.
const WARNINGS_MAX: usize = 100;

/// The problems found while validating one object, in the order in which they are found; the first thousand of
/// them, and none twice.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    /// What was found so far.
    pub causes: Vec<Cause>,
    /// What is wrong as it was before, and therefore only told: each becomes a `Warning` header.
    pub warnings: Vec<String>,
    bytes: usize,
}

impl Problems {
    /// A field that must be given is absent. `detail` may be empty.
    pub fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.add("FieldValueRequired", || "Required value".to_owned(), field.into(), detail);
    }

    /// A field's value is wrong; `value` is shown as the API server prints it (strings quoted, numbers plain).
    pub fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.add("FieldValueInvalid", || format!("Invalid value: {value}"), field.into(), detail);
    }

    /// A field has a value outside its enumeration.
    pub fn not_supported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        self.not_supported_shown(field, &value.to_string(), supported);
    }

    /// The same of a struct, which the API server shows in a form of its own.
    pub fn not_supported_shown(&mut self, field: impl Into<String>, value: &str, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        self.add("FieldValueNotSupported", || format!("Unsupported value: {value}"), field.into(), &detail);
    }

    /// A value that must be unique within its list stands there twice.
    pub fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.duplicate_shown(field, &value.to_string());
    }

    /// The same of a struct, which the API server shows in a form of its own.
    pub fn duplicate_shown(&mut self, field: impl Into<String>, value: &str) {
        self.add("FieldValueDuplicate", || format!("Duplicate value: {value}"), field.into(), "");
    }

    /// A field may not be set, or not be changed, here.
    pub fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.add("FieldValueForbidden", || "Forbidden".to_owned(), field.into(), detail);
    }

    /// A value refers to something that does not exist.
    pub fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.add("FieldValueNotFound", || format!("Not found: {value}"), field.into(), "");
    }

    /// A string or list is longer than `limit` allows; `unit` is `bytes`, `items`, …
    pub fn too_long(&mut self, field: impl Into<String>, detail: &str) {
        self.add("FieldValueTooLong", || "Too long".to_owned(), field.into(), detail);
    }

    /// A list has more than `max` items.
    pub fn too_many(&mut self, field: impl Into<String>, items: usize, max: usize) {
        let detail = format!("must have at most {max} items");
        self.add("FieldValueTooMany", || format!("Too many: {items}"), field.into(), &detail);
    }

    /// Adds a problem worded elsewhere.
    pub fn push(&mut self, cause: Cause) {
        self.take(cause);
    }

    fn add(&mut self, reason: &'static str, head: impl FnOnce() -> String, field: String, detail: &str) {
        if self.is_full() {
            return;
        }
        let mut message = head();
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        self.take(Cause { reason, message, field });
    }

    /// Tells of a problem that may stay.
    pub fn tolerate(&mut self, cause: &Cause) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(format!("{}: {}", cause.field, cause.message));
        }
    }

    /// Adds what was found elsewhere about the same object.
    pub fn extend(&mut self, others: Problems) {
        let room = WARNINGS_MAX.saturating_sub(self.warnings.len());
        self.warnings.extend(others.warnings.into_iter().take(room));
        others.causes.into_iter().for_each(|cause| self.take(cause));
    }

    fn is_full(&self) -> bool {
        self.causes.len() >= PROBLEMS_MAX || self.bytes >= PROBLEMS_BYTES_MAX
    }

    fn take(&mut self, cause: Cause) {
        if !self.is_full() && !self.causes.contains(&cause) {
            self.bytes += cause.message.len() + cause.field.len();
            self.causes.push(cause);
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// All problems in one line, as the API server writes them: a single one plainly, several as a bracketed list.
    pub fn text(&self) -> String {
        let lines = self.causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message));
        let mut lines: Vec<String> = lines.collect();
        if lines.len() == 1 { lines.swap_remove(0) } else { format!("[{}]", lines.join(", ")) }
    }
}

/// A failed request, as the body of the answer says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP code; [`Reason::code`] unless the real server answers another one.
    pub code: u16,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people: one sentence.
    pub message: String,
    /// Which object and fields; `None` leaves `details` out.
    pub details: Option<Box<Details>>,
}

/// `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name; empty leaves it out.
    pub name: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, or the resource's plural name where the real server uses that.
    pub kind: String,
    /// The object's uid; empty leaves it out.
    pub uid: String,
    /// Single problems.
    pub causes: Vec<Cause>,
    /// After how many seconds a client may try again; 0 leaves it out.
    pub retry_after_seconds: u32,
}

impl Status {
    /// A failure with no details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { code: reason.code(), reason, message: message.into(), details: None }
    }

    /// `pods "web" not found`.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::of(Reason::NotFound, message, resource.plural_details(name))
    }

    /// `pods "web" already exists`.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::of(Reason::AlreadyExists, message, resource.plural_details(name))
    }

    /// `Operation cannot be fulfilled on pods "web": …`; `why` is usually [`MODIFIED`].
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::of(Reason::Conflict, message, resource.plural_details(name))
    }

    /// `pods "web" is forbidden: …`.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::of(Reason::Forbidden, message, resource.plural_details(name))
    }

    /// `Pod "web" is invalid: …` with every cause.
    pub fn invalid(resource: &Resource, name: &str, problems: Problems) -> Self {
        let message = format!("{} \"{name}\" is invalid: {}", resource.qualified_kind(), problems.text());
        let details = Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            causes: problems.causes,
            ..Details::default()
        };
        Self::of(Reason::Invalid, message, details)
    }

    /// The request itself cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// A failure of the server, not of the client; `message` must not hold secrets.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::InternalError, message)
    }

    fn of(reason: Reason, message: String, details: Details) -> Self {
        Self { details: Some(Box::new(details)), ..Self::new(reason, message) }
    }

    /// The `Status` object that is sent.
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if self.reason != Reason::Unknown {
            body["reason"] = self.reason.as_str().into();
        }
        if let Some(details) = &self.details {
            body["details"] = details.to_value();
        }
        body
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut body = berth_json::Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            body.insert(key.to_owned(), text.as_str().into());
        }
        if !self.causes.is_empty() {
            body.insert("causes".to_owned(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            body.insert("retryAfterSeconds".to_owned(), self.retry_after_seconds.into());
        }
        body.into()
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut body = json!({ "reason": self.reason, "message": self.message });
        if !self.field.is_empty() {
            body["field"] = self.field.as_str().into();
        }
        body
    }
}

/// What a stale write is told ([`Status::conflict`]).
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let mut problems = Problems::default();
        problems.required("a", "");
        assert_eq!(problems.text(), "a: Required value");
        problems.required("a", "");
        assert_eq!((problems.text(), problems.causes.len()), ("a: Required value".to_owned(), 1));
        problems.required("b", "here");
        assert_eq!(problems.text(), "[a: Required value, b: Required value: here]");
    }

    #[test]
    fn an_object_that_is_wrong_everywhere_is_told_a_part_of_it() {
        let mut problems = Problems::default();
        (0..100_000).for_each(|at| problems.required(format!("spec.containers[{at}].name"), ""));
        assert_eq!(problems.causes.len(), PROBLEMS_MAX);
        let mut problems = Problems::default();
        let long = Value::from("x".repeat(PROBLEMS_BYTES_MAX));
        (0..10).for_each(|_| problems.invalid("spec", &long, ""));
        assert_eq!(problems.causes.len(), 1);
    }
}
