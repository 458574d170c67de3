//! URLs as Go's `net/url` reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::collection::{Key, Map};
use crate::error::EvalError;
use crate::foreign::Foreign;
use crate::functions::{Answer, Declaration, Tools};
use crate::value::{Str, Value};

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("url", "string_to_url", "string -> url", |tools, arguments| {
        let text = arguments[0].text()?;
        tools.meter.memory(text.len())?;
        let fault = |error| EvalError::new(format!("URL parse error during conversion from string: {error}"));
        Ok(Foreign::Url(Url::parse(text).map_err(fault)?).into())
    }),
    Declaration::global("isURL", "is_url_string", "string -> bool", |tools, arguments| {
        let text = arguments[0].text()?;
        tools.meter.memory(text.len())?;
        Ok(Value::Bool(request(text).is_ok()))
    }),
    Declaration::member("getScheme", "url_get_scheme", "url -> string", |_, a| {
        part(a, |url| url.scheme.clone())
    }),
    Declaration::member("getHost", "url_get_host", "url -> string", |_, a| part(a, |url| url.host.clone())),
    Declaration::member("getHostname", "url_get_hostname", "url -> string", |_, a| {
        part(a, |url| host_and_port(&url.host).0.to_owned())
    }),
    Declaration::member("getPort", "url_get_port", "url -> string", |_, a| {
        part(a, |url| host_and_port(&url.host).1.to_owned())
    }),
    Declaration::member("getEscapedPath", "url_get_escaped_path", "url -> string", |_, a| {
        part(a, |url| url.path.clone())
    }),
    Declaration::member("getQuery", "url_get_query", "url -> map(string, list(string))", query),
];

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    /// Escaped.
    path: String,
    query: String,
    rest: String,
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        request(text)?;
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        Ok(Self { rest: fragment.into(), ..request(text)? })
    }
}

fn url(value: &Value<'_>) -> Result<Url, EvalError> {
    if let Foreign::Url(url) = value.foreign()? { Ok(url.clone()) } else { Err(EvalError::NO_OVERLOAD) }
}

fn part<'v>(arguments: &[Value<'v>], part: fn(&Url) -> String) -> Answer<'v> {
    Ok(Value::from(part(&url(&arguments[0])?)))
}

/// Whether it is an absolute URI or an absolute path.
pub(crate) fn check(text: &str) -> Result<(), String> {
    request(text).map(drop)
}

fn request(raw: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("parse {raw:?}: {why}");
    if raw.bytes().any(|c| c < b' ' || c == 0x7f) {
        return Err(wrong("net/url: invalid control character in URL"));
    }
    if raw.is_empty() {
        return Err(wrong("empty url"));
    }
    let mut url = Url {
        scheme: String::new(),
        host: String::new(),
        path: String::new(),
        query: String::new(),
        rest: String::new(),
    };
    if raw == "*" {
        url.path = raw.into();
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(raw).map_err(wrong)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.into();
    if !rest.starts_with('/') {
        if url.scheme.is_empty() {
            return Err(wrong("invalid URI for request"));
        }
        url.rest = rest.into();
        return Ok(url);
    }
    if let Some(authority) =
        rest.strip_prefix("//").filter(|after| !url.scheme.is_empty() || !after.starts_with('/'))
    {
        let end = authority.find('/').unwrap_or(authority.len());
        let host = authority[..end].rsplit_once('@').map_or(&authority[..end], |(_, host)| host);
        url.host = check_host(host).map_err(|why| wrong(&why))?;
        rest = &authority[end..];
    }
    url.path = escaped(rest).map_err(|why| wrong(&why))?;
    Ok(url)
}

fn split_scheme(raw: &str) -> Result<(&str, &str), &'static str> {
    for (at, c) in raw.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&raw[..at], &raw[at + 1..])),
            _ => break,
        }
    }
    Ok(("", raw))
}

fn check_host(host: &str) -> Result<String, String> {
    let after = match host.strip_prefix('[') {
        Some(inside) => match inside.rfind(']') {
            Some(end) => &inside[end + 1..],
            None => return Err("missing ']' in host".into()),
        },
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let is_port = after.is_empty()
        || after.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    if !is_port {
        return Err(format!("invalid port {after:?} after host"));
    }
    if let Some(c) = host.chars().find(|c| " \"<>\\^`{|}".contains(*c)) {
        return Err(format!("invalid character {:?} in host name", c.to_string()));
    }
    Ok(host.into())
}

/// The host without brackets, and the port.
fn host_and_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
}

/// A path with what cannot stand in one escaped.
fn escaped(path: &str) -> Result<String, String> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digits = &after[..after.len().min(2)];
                if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(format!(
                        "invalid URL escape {:?}",
                        format!("%{}", String::from_utf8_lossy(digits))
                    ));
                }
                text.push('%');
            }
            c if c.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]".contains(c) => {
                text.push(char::from(*c))
            }
            c => text.push_str(&format!("%{c:02X}")),
        }
    }
    Ok(text)
}

fn query<'v>(tools: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let query = url(&arguments[0])?.query;
    let mut values: BTreeMap<String, Vec<Value<'v>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (unescape(name), unescape(value)) {
            tools.meter.elements(2)?;
            values.entry(name).or_default().push(Value::from(value));
        }
    }
    let map =
        values.into_iter().map(|(name, list)| (Key::String(Str::Shared(name.into())), Value::from(list)));
    Ok(Value::Map(Map::Owned(Arc::new(map.collect()))))
}

/// `a%20b+c` as `a b c`; `None` when an escape is wrong.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
                rest = &after[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}
