//! What a verdict means.

use berth_api::decode::{self, Expected};
use berth_api::patch::Patch;
use berth_api::{FieldValidation, PatchType, Reason, Resource, Status};
use berth_json::Value;

use crate::contract::{Mutates, PolicyError, VERDICT_BYTES_MAX, Verdict};

/// Bytes of a refusal's sentence: it stands in events and conditions.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Texts for the user, and bytes of each: they travel in headers.
const WARNINGS_MAX: usize = 16;
const WARNING_BYTES_MAX: usize = 256;
/// Notes for the log, and bytes of their names and values.
const AUDIT_MAX: usize = 16;
const AUDIT_NAME_BYTES_MAX: usize = 63;
const AUDIT_VALUE_BYTES_MAX: usize = 1_024;

/// What a patch may not change: who and where the object is, and what the server writes there.
const METADATA_KEPT: [&str; 9] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
];

/// What becomes of a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The object with the policy's changes; `None` where it has none.
    pub changed: Option<Value>,
    /// The answer to the client, when the policy refuses.
    pub refusal: Option<Status>,
    /// Texts for the client, whatever becomes of the write.
    pub warnings: Vec<String>,
    /// Notes for the log.
    pub audit: Vec<(String, String)>,
}

/// Checks a policy's verdict on the write of `object` of a resource (at one of its sub-resources, unless that is empty).
///
/// # Errors
/// When the verdict cannot be used: it contradicts itself, is too large, or its patch makes the object one that no client could
/// have sent.
pub fn judge(
    policy: &str,
    mutates: Mutates,
    verdict: Verdict,
    resource: &Resource,
    sub_resource: &str,
    object: Option<&Value>,
) -> Result<Judged, PolicyError> {
    check_size(&verdict)?;
    let Verdict { allowed, code, message, patch, warnings, audit } = verdict;
    let warnings = warnings.iter().take(WARNINGS_MAX).map(|text| one_line(text, WARNING_BYTES_MAX)).collect();
    let note = |(name, value): &(String, String)| {
        (one_line(name, AUDIT_NAME_BYTES_MAX), one_line(value, AUDIT_VALUE_BYTES_MAX))
    };
    let audit = audit.iter().take(AUDIT_MAX).map(note).collect();
    let mut judged = Judged { changed: None, refusal: None, warnings, audit };
    if !patch.is_empty() && (!allowed || mutates == Mutates::No) {
        let why = if allowed { "it says that it changes no objects" } else { "it refuses the object" };
        return Err(bad(format!("it has a patch, and {why}")));
    }
    if !allowed {
        judged.refusal = Some(refusal(policy, code, &message)?);
    } else if let (false, Some(object)) = (patch.is_empty(), object) {
        judged.changed = Some(patched(&patch, resource, sub_resource, object).map_err(bad)?);
    }
    Ok(judged)
}

fn check_size(verdict: &Verdict) -> Result<(), PolicyError> {
    let texts = verdict.warnings.iter().chain(verdict.audit.iter().flat_map(|(name, value)| [name, value]));
    let bytes = verdict.patch.len() + verdict.message.len() + texts.map(String::len).sum::<usize>();
    if bytes > VERDICT_BYTES_MAX {
        return Err(bad(format!("it has {bytes} bytes, and {VERDICT_BYTES_MAX} are the limit")));
    }
    Ok(())
}

fn refusal(policy: &str, code: u32, message: &str) -> Result<Status, PolicyError> {
    let code = if code == 0 { 403 } else { code };
    if !(400..500).contains(&code) {
        return Err(bad(format!("{code} is no status of a refusal, which are 400 to 499")));
    }
    let message = one_line(message, MESSAGE_BYTES_MAX);
    let said = if message.is_empty() {
        format!("admission policy \"{policy}\" denied the request without explanation")
    } else {
        format!("admission policy \"{policy}\" denied the request: {message}")
    };
    Ok(Status { code: code as u16, ..Status::new(reason_of(code), said) })
}

/// The word for a code, as the API server's own answers have it.
fn reason_of(code: u32) -> Reason {
    match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        404 => Reason::NotFound,
        409 => Reason::Conflict,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        _ => Reason::Forbidden,
    }
}

/// The object with a patch, as if a client had sent it: decoded against the schema, and without what the kind does not know.
fn patched(json: &[u8], resource: &Resource, sub_resource: &str, object: &Value) -> Result<Value, String> {
    let patch =
        Patch::parse(PatchType::Json, json).map_err(|status| format!("its patch: {}", status.message))?;
    if !matches!(sub_resource, "" | "status") {
        return Err(format!(
            "it has a patch, and what is written at `/{sub_resource}` is not a policy's to change"
        ));
    }
    let expected = Expected::of(resource);
    let unpatchable = |why: &str| format!("its patch does not fit the object: {why}");
    let patched = patch
        .apply(&resource.schema, expected.schema_type, object)
        .map_err(|status| unpatchable(&status.message))?;
    let api_version = expected.api_version();
    if patched["kind"] != expected.kind || patched["apiVersion"] != api_version.as_str() {
        return Err("its patch changes what kind of object it is".to_owned());
    }
    for key in METADATA_KEPT {
        if patched["metadata"].get(key) != object["metadata"].get(key) {
            return Err(format!("its patch changes metadata.{key}, which is the server's"));
        }
    }
    if sub_resource.is_empty() && patched.get("status") != object.get("status") {
        return Err("its patch changes the status, which is written at `/status`".to_owned());
    }
    let checked = decode::check(&resource.schema, expected, patched).and_then(|mut decoded| {
        decoded.findings.extend(resource.behaviour.prune(&mut decoded.value));
        decoded.enforce(FieldValidation::Strict)
    });
    checked.map(|(object, _)| object).map_err(|why| unpatchable(&why))
}

fn bad(why: String) -> PolicyError {
    PolicyError::BadVerdict(why)
}

/// A policy's own words: one line that forges no other, of bounded length.
fn one_line(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
