//! Named formats of strings: `format.dns1123Label().validate(name)`.

use std::fmt;

use base64::Engine as _;

use crate::error::EvalError;
use crate::foreign::Foreign;
use crate::functions::{Answer, Declaration, Tools};
use crate::time::parse_timestamp;
use crate::value::Value;

use super::url;

/// A named format.
pub struct Format {
    /// What `format.named` calls it.
    pub(crate) name: &'static str,
    /// How long Kubernetes' pattern of it is at most: what checking costs.
    pub(crate) pattern_size: u64,
    check: fn(&str) -> Vec<String>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! formats {
    ($($name:literal $size:literal $check:expr;)*) => {
        static FORMATS: &[Format] = &[$(Format { name: $name, pattern_size: $size, check: $check }),*];
        pub(crate) const DECLARATIONS: &[Declaration] = &[
            Declaration::member("validate", "format-validate", "format, string -> optional(list(string))", validate),
            Declaration::global("format.named", "format-named", "string -> optional(format)", |_, arguments| {
                Ok(find(arguments[0].text()?).map_or_else(Value::none, Value::some))
            }),
            $(Declaration::global(concat!("format.", $name), concat!("format.", $name), "-> format", |_, _| {
                find($name).ok_or(EvalError::NO_OVERLOAD)
            }),)*
        ];
    };
}

formats! {
    "dns1123Label" 30 |text| label(text);
    "dns1123Subdomain" 60 |text| subdomain(text);
    "dns1035Label" 30 |text| label_1035(text);
    "qualifiedName" 60 qualified_name;
    "dns1123LabelPrefix" 30 |text| label(&without_dash(text));
    "dns1123SubdomainPrefix" 60 |text| subdomain(&without_dash(text));
    "dns1035LabelPrefix" 30 |text| label_1035(&without_dash(text));
    "labelValue" 40 label_value;
    "uri" 1103 |text| url::check(text).err().into_iter().collect();
    "uuid" 70 |text| complain(is_uuid(text), "does not match the UUID format");
    "byte" 84 |text| complain(is_base64(text), "invalid base64");
    "date" 71 |text| complain(parse_timestamp(&format!("{text}T00:00:00Z")).is_some(), "invalid date");
    "datetime" 71 |text| complain(parse_timestamp(text).is_some(), "invalid datetime");
}

fn find<'v>(name: &str) -> Option<Value<'v>> {
    FORMATS.iter().find(|format| format.name == name).map(|format| Foreign::Format(format).into())
}

fn validate<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let Foreign::Format(format) = arguments[0].foreign()? else { return Err(EvalError::NO_OVERLOAD) };
    let text = arguments[1].text()?;
    tools.meter.memory(text.len())?;
    let problems = (format.check)(text);
    if problems.is_empty() {
        return Ok(Value::none());
    }
    Ok(Value::some(Value::from(problems.into_iter().map(Value::from).collect::<Vec<_>>())))
}

fn complain(is_right: bool, problem: &str) -> Vec<String> {
    if is_right { Vec::new() } else { vec![problem.into()] }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = if text.contains('-') { text.split('-').collect() } else { vec![text] };
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    (lengths == [32] || lengths == [8, 4, 4, 4, 12]) && groups.concat().bytes().all(|c| c.is_ascii_hexdigit())
}

fn is_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";

fn too_long(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} characters"))
}

fn is_lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().all(|c| is_lower(*c) || *c == b'-')
        && [bytes.first(), bytes.last()].iter().all(|end| end.is_some_and(|c| is_lower(*c)))
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
        && [bytes.first(), bytes.last()].iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
}

/// A name that something follows: a dash at its end does not count.
fn without_dash(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(name) if !name.is_empty() => format!("{name}a"),
        _ => text.into(),
    }
}

fn label(text: &str) -> Vec<String> {
    too_long(text, LABEL_MAX).into_iter().chain(complain(is_label(text), LABEL)).collect()
}

fn label_1035(text: &str) -> Vec<String> {
    let is_right = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    too_long(text, LABEL_MAX).into_iter().chain(complain(is_right, LABEL_1035)).collect()
}

fn subdomain(text: &str) -> Vec<String> {
    too_long(text, SUBDOMAIN_MAX)
        .into_iter()
        .chain(complain(text.split('.').all(is_label), SUBDOMAIN))
        .collect()
}

fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((_, name)) if name.contains('/') => return vec![QUALIFIED.into()],
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut problems = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => {
            subdomain(prefix).into_iter().map(|problem| format!("prefix part {problem}")).collect()
        }
        None => Vec::new(),
    };
    let part = |problem: String| format!("name part {problem}");
    if name.is_empty() {
        problems.push(part("must be non-empty".into()));
    }
    problems.extend(too_long(name, LABEL_MAX).map(part));
    problems.extend(complain(is_name(name), NAME).into_iter().map(part));
    problems
}

fn label_value(text: &str) -> Vec<String> {
    too_long(text, LABEL_MAX)
        .into_iter()
        .chain(complain(text.is_empty() || is_name(text), LABEL_VALUE))
        .collect()
}
