//! What server-side apply is given: the part of an object that its sender wants to be so.

use berth_json::{Map, Value};

use crate::decode::scalar::go_kind;
use crate::decode::{Budget, Expected, FieldValidation, Finding, Spent, walk, yaml};
use crate::status::Status;

/// A configuration as it was sent: unlike a decoded object it holds what was said in vain too, an empty text or a null, for
/// who says it owns it.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    value: Value,
    findings: Vec<Finding>,
}

impl Configuration {
    /// The `Content-Type` that it is sent as.
    pub const MEDIA_TYPE: &str = "application/apply-patch+yaml";

    /// Reads a configuration, YAML or JSON.
    ///
    /// # Errors
    /// 400 for a body that is none, 413 for one that becomes too large.
    pub fn parse(body: &[u8]) -> Result<Self, Status> {
        let budget = Budget::default();
        let parsed = parse(body, &budget);
        if budget.is_spent() {
            return Err(Spent.into());
        }
        let (value, findings) =
            parsed.map_err(|why| Status::bad_request(format!("error encoding patch: {why}")))?;
        match value {
            Value::Object(_) => Ok(Self { value, findings }),
            Value::Null => Ok(Self { value: Map::new().into(), findings }),
            other => {
                let found = go_kind(&other);
                let why =
                    format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
                Err(Status::bad_request(format!("error decoding patch: {why}")))
            }
        }
    }

    /// What was sent.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether it says that it is of the kind that the endpoint takes: here a client must.
    ///
    /// # Errors
    /// 400 for another kind, or none.
    pub fn admit(&self, expected: Expected<'_>) -> Result<(), Status> {
        let text = |key: &str| self.value.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("kind") == expected.kind && text("apiVersion") == expected.api_version() {
            return Ok(());
        }
        let kind = crate::managed_fields::kind_of(&self.value);
        Err(Status::bad_request(format!("invalid object type: {kind}")))
    }

    /// Does with keys that stand twice what the client asked for; returns the warnings.
    ///
    /// # Errors
    /// 400 where it asked for strictness and there are any.
    pub fn enforce(&self, validation: FieldValidation) -> Result<Vec<String>, Status> {
        let findings: Vec<String> = self.findings.iter().map(Finding::warning).collect();
        match validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !findings.is_empty() => {
                let lines = findings.join("\n  ");
                let why = format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {lines}");
                Err(Status::bad_request(format!("error strict decoding patch: {why}")))
            }
            FieldValidation::Warn | FieldValidation::Strict => Ok(findings),
        }
    }
}

/// JSON is YAML: what clients send is read as the one as long as nothing is wrong with it, because that is far quicker.
fn parse(body: &[u8], budget: &Budget) -> Result<(Value, Vec<Finding>), String> {
    if body.first() == Some(&b'{')
        && let Ok((value, findings)) = walk::untyped(body, budget)
        && findings.is_empty()
    {
        return Ok((value, findings));
    }
    let text = str::from_utf8(body).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    yaml::parse(text, budget)
}
