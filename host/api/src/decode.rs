//! From bytes to a checked object: JSON, YAML or protobuf in, a [`berth_json::Value`] of a schema type out.
//!
//! The value holds only what was said: unknown fields, nulls and empty values of optional fields are gone, quantities
//! and times are canonical. [`complete`] adds what Go's encoder prints besides, once defaults are in.

pub(crate) mod budget;
mod complete;
mod expected;
pub(crate) mod path;
pub(crate) mod protobuf;
pub(crate) mod scalar;
mod syntax;
#[cfg(test)]
mod tests;
mod type_meta;
pub(crate) mod walk;
pub(crate) mod yaml;

use berth_json::Value;

pub use budget::{Budget, EXPANDED_BYTES_MAX, STEPS_MAX, Spent};
pub use complete::complete;
use expected::unrecognised;
pub use expected::{Expected, TypeMeta, cannot_handle};

use crate::schema::Schema;
use crate::status::{Reason, Status};

/// How deep a JSON, YAML or protobuf body may nest. Go stops at 10,000; a real object needs less than 30, and a
/// recursive walk of this many levels stays far within a thread's stack.
pub const DEPTH_MAX: usize = 100;

/// How large a request body may be: etcd's limit times two, as the Kubernetes API server has it.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How many unknown and duplicate fields of a body are told of, as on the API server; the rest is dropped all the same.
pub const FINDINGS_MAX: usize = 100;

/// The encodings a request body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What a client asks to be done about unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a `Warning` header each; the default.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Something that strict decoding refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A field that the type does not have, by its path: `spec.containers[0].foo`.
    Unknown(String),
    /// A field that stands twice in one object, by its path.
    Duplicate(String),
    /// A key that stands twice in one YAML mapping, with its line.
    DuplicateYaml {
        /// The line of the second key, counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
}

/// A decoded object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The object, with the expected `apiVersion` and `kind`.
    pub value: Value,
    /// What strict decoding refuses, in the order in which it stands in the body.
    pub findings: Vec<Finding>,
}

/// Decodes a request's body as the kind that the endpoint takes. A body without `kind` or `apiVersion` is taken as
/// that kind.
///
/// # Errors
/// 400 as the API server words it: syntax, another kind, wrong types. 413 for a body that becomes too large.
pub fn decode(
    schema: &Schema,
    expected: Expected<'_>,
    media: MediaType,
    body: &[u8],
) -> Result<Decoded, Status> {
    let budget = Budget::default();
    let decoding = Decoding { schema, expected, budget: &budget };
    let decoded = match media {
        MediaType::Json => decoding.json(body),
        MediaType::Yaml => decoding.yaml(body),
        MediaType::Protobuf => decoding.protobuf(body),
    };
    if budget.is_spent() { Err(Spent.into()) } else { decoded }
}

/// Checks a value against the type of `expected`: what a patch made, or what the server itself built.
///
/// # Errors
/// One sentence as the API server words it (`json: cannot unmarshal …`, `no kind "…" is registered …`).
pub fn check(schema: &Schema, expected: Expected<'_>, value: Value) -> Result<Decoded, String> {
    let budget = Budget::default();
    let checked = Decoding { schema, expected, budget: &budget }.check(value);
    if budget.is_spent() { Err(Spent.to_string()) } else { checked }
}

/// Reads only `apiVersion` and `kind`, for endpoints that take several kinds.
///
/// # Errors
/// 400 when the body cannot be read at all, 413 when it becomes too large.
pub fn read_type_meta(media: MediaType, body: &[u8]) -> Result<TypeMeta, Status> {
    let budget = Budget::default();
    let unreadable = |why: String| Status::bad_request(format!("couldn't get version/kind; {why}"));
    let meta = match media {
        MediaType::Json => {
            type_meta::of_json(body).map_err(|error| unreadable(format!("json parse error: {error}")))
        }
        MediaType::Yaml => {
            let text = str::from_utf8(body).map_err(|_| unreadable(NOT_UTF8.to_owned()))?;
            yaml::parse(text, &budget).map(|(value, _)| type_meta::of(&value)).map_err(unreadable)
        }
        MediaType::Protobuf => {
            protobuf::envelope(body).map(|(meta, _)| meta).map_err(|error| unreadable(error.to_string()))
        }
    };
    if budget.is_spent() { Err(Spent.into()) } else { meta }
}

const NOT_UTF8: &str = "yaml: invalid leading UTF-8 octet";

/// One body on its way to an object.
#[derive(Clone, Copy)]
struct Decoding<'d> {
    schema: &'d Schema,
    expected: Expected<'d>,
    budget: &'d Budget,
}

impl Decoding<'_> {
    fn json(self, body: &[u8]) -> Result<Decoded, Status> {
        let Self { schema, expected, budget } = self;
        let mut reader = serde_json::Deserializer::from_slice(body);
        let (value, outcome) = walk::object(schema, expected.root(schema), budget, &mut reader);
        let value = value.and_then(|value| reader.end().map(|()| value));
        match (value, outcome.error) {
            (Ok(value), None) => {
                expected
                    .admits(schema, &outcome.meta)
                    .map_err(|why| outcome.meta.cannot_handle(expected, &why))?;
                Ok(expected.decoded(value, outcome.findings))
            }
            (result, error) => Err(self.json_failure(body, result.err(), error)),
        }
    }

    /// The slow path: what is wrong with a body, in the order in which the API server looks.
    fn json_failure(
        self,
        body: &[u8],
        serde: Option<serde_json::Error>,
        type_error: Option<String>,
    ) -> Status {
        let expected = self.expected;
        let meta = match type_meta::of_json(body) {
            Ok(meta) => meta,
            Err(error) => {
                let why = format!("couldn't get version/kind; json parse error: {error}");
                return unrecognised(expected, &why, body);
            }
        };
        if let Err(why) = expected.admits(self.schema, &meta) {
            return meta.cannot_handle(expected, &why);
        }
        let why = type_error.or_else(|| serde.map(|error| error.to_string())).unwrap_or_default();
        if why.starts_with("couldn't get version/kind") {
            return unrecognised(expected, &why, body);
        }
        meta.cannot_handle(expected, &why)
    }

    fn yaml(self, body: &[u8]) -> Result<Decoded, Status> {
        let expected = self.expected;
        let text = str::from_utf8(body).map_err(|_| unrecognised(expected, NOT_UTF8, body))?;
        let parsed = yaml::parse(text, self.budget);
        let (value, mut findings) = parsed.map_err(|error| unrecognised(expected, &error, body))?;
        if !(value.is_object() || value.is_null()) {
            let why = type_meta::no_object(scalar::go_kind(&value));
            let why = format!("couldn't get version/kind; json parse error: {why}");
            return Err(unrecognised(expected, &why, body));
        }
        let meta = type_meta::of(&value);
        let decoded = self.check(value).map_err(|why| meta.cannot_handle(expected, &why))?;
        findings.extend(decoded.findings);
        Ok(Decoded { value: decoded.value, findings })
    }

    fn protobuf(self, body: &[u8]) -> Result<Decoded, Status> {
        let Self { schema, expected, budget } = self;
        let (meta, raw) =
            protobuf::envelope(body).map_err(|error| unrecognised(expected, &error.to_string(), body))?;
        expected.admits(schema, &meta).map_err(|why| meta.cannot_handle(expected, &why))?;
        let fields = protobuf::object(schema, expected.root(schema), raw, budget);
        let fields = fields.map_err(|error| meta.cannot_handle(expected, &error.to_string()))?;
        self.check(fields.into()).map_err(|why| meta.cannot_handle(expected, &why))
    }

    fn check(self, value: Value) -> Result<Decoded, String> {
        let Self { schema, expected, budget } = self;
        expected.admits(schema, &type_meta::of(&value))?;
        let (value, outcome) = walk::object(schema, expected.root(schema), budget, &value);
        match (value, outcome.error) {
            (Ok(value), None) => Ok(expected.decoded(value, outcome.findings)),
            (_, Some(error)) => Err(error),
            (Err(_), None) => Err("json: cannot unmarshal the value into an object".to_owned()),
        }
    }
}

const UNKNOWN_FORMAT: &str = "the body of the request was in an unknown format - accepted media types include: \
                              application/json, application/yaml, application/vnd.kubernetes.protobuf";

impl MediaType {
    /// The encoding that a `Content-Type` names; absent or empty means JSON.
    ///
    /// # Errors
    /// 415 for anything else.
    pub fn of_content_type(content_type: &str) -> Result<Self, Status> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media.to_ascii_lowercase().as_str() {
            "" | "application/json" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(Self::Protobuf),
            _ => Err(Status::new(Reason::UnsupportedMediaType, UNKNOWN_FORMAT)),
        }
    }
}

impl FieldValidation {
    /// Reads the query parameter; absent or empty means [`FieldValidation::Warn`]. `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

impl Finding {
    /// The text of the `Warning` header: `unknown field "spec.foo"`.
    pub fn warning(&self) -> String {
        match self {
            Self::Unknown(path) => format!("unknown field \"{path}\""),
            Self::Duplicate(path) => format!("duplicate field \"{path}\""),
            Self::DuplicateYaml { line, key } => format!("line {line}: key \"{key}\" already set in map"),
        }
    }
}

impl Decoded {
    /// Does with the findings what the client asked for.
    ///
    /// Returns the object and the texts of the warnings.
    ///
    /// # Errors
    /// The sentence `strict decoding error: …` when [`FieldValidation::Strict`] was asked for and there are findings;
    /// [`cannot_handle`] makes the answer to a POST or PUT of it, [`crate::patch::invalid_result`] that to a PATCH.
    pub fn enforce(self, validation: FieldValidation) -> Result<(Value, Vec<String>), String> {
        match validation {
            FieldValidation::Ignore => Ok((self.value, Vec::new())),
            FieldValidation::Warn => Ok((self.value, self.findings.iter().map(Finding::warning).collect())),
            FieldValidation::Strict if self.findings.is_empty() => Ok((self.value, Vec::new())),
            FieldValidation::Strict => Err(strict_error(&self.findings)),
        }
    }
}

/// All findings in one sentence; those of the YAML parser are one error of several lines.
fn strict_error(findings: &[Finding]) -> String {
    let (yaml, fields): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| matches!(finding, Finding::DuplicateYaml { .. }));
    let mut parts = Vec::new();
    if !yaml.is_empty() {
        let lines: Vec<String> = yaml.iter().map(|finding| finding.warning()).collect();
        parts.push(format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")));
    }
    parts.extend(fields.iter().map(|finding| finding.warning()));
    format!("strict decoding error: {}", parts.join(", "))
}
