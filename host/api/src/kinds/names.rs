//! The rules that names, labels and the like follow, and the sentences that say how they were broken.
//!
//! Each function returns what is wrong, in the words of the API server; nothing when the value is fine.

/// What is wrong with a value, one sentence each.
pub type Faults = Vec<String>;

/// The longest DNS label: RFC 1123.
pub const LABEL_LENGTH_MAX: usize = 63;
/// The longest DNS name as the API server counts it.
pub const SUBDOMAIN_LENGTH_MAX: usize = 253;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
    validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
    '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
    validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
    an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used \
    for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
    regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
    'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const HTTP_HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
    'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
    '93%', regex used for validation is '[0-9]+%')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// A DNS label (RFC 1123): container, volume and namespace names.
pub fn label_1123(value: &str) -> Faults {
    let mut faults = too_long(value, LABEL_LENGTH_MAX);
    if !is_label_1123(value) {
        let dots_only = faults.is_empty() && is_subdomain_1123(value);
        faults.push(if dots_only { "must not contain dots" } else { LABEL_1123 }.to_owned());
    }
    faults
}

/// A DNS name (RFC 1123): the names of most objects.
pub fn subdomain_1123(value: &str) -> Faults {
    let mut faults = too_long(value, SUBDOMAIN_LENGTH_MAX);
    if !is_subdomain_1123(value) {
        faults.push(SUBDOMAIN_1123.to_owned());
    }
    faults
}

/// A DNS label that starts with a letter (RFC 1035): names of Services.
pub fn label_1035(value: &str) -> Faults {
    let mut faults = too_long(value, LABEL_LENGTH_MAX);
    if !(is_label_1123(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
        faults.push(LABEL_1035.to_owned());
    }
    faults
}

/// A label key, annotation key, resource name, …: `name` or `dns.prefix/name`.
pub fn qualified_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            faults.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            faults.extend(subdomain_1123(prefix).into_iter().map(|fault| format!("prefix part {fault}")));
            name
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else {
        faults.extend(too_long(name, LABEL_LENGTH_MAX).into_iter().map(|fault| format!("name part {fault}")));
    }
    if !is_qualified_part(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// The value of a label.
pub fn label_value(value: &str) -> Faults {
    let mut faults = too_long(value, LABEL_LENGTH_MAX);
    if !value.is_empty() && !is_qualified_part(value) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// A key in a ConfigMap's or Secret's data.
pub fn config_key(value: &str) -> Faults {
    let mut faults = too_long(value, SUBDOMAIN_LENGTH_MAX);
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        faults.push(CONFIG_KEY.to_owned());
    }
    if value == "." {
        faults.push("must not be '.'".to_owned());
    } else if value == ".." {
        faults.push("must not be '..'".to_owned());
    } else if value.starts_with("..") {
        faults.push("must not start with '..'".to_owned());
    }
    faults
}

/// The name of an environment variable.
pub fn env_name(value: &str) -> Faults {
    if !value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Faults::new();
    }
    vec![ENV_NAME.to_owned()]
}

/// The name of an HTTP header.
pub fn http_header(value: &str) -> Faults {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Faults::new();
    }
    vec![HTTP_HEADER.to_owned()]
}

/// The name of a container or service port (RFC 6335).
pub fn port_name(value: &str) -> Faults {
    let mut faults = too_long(value, 15);
    let bytes = value.as_bytes();
    if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') || bytes.is_empty() {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// A percentage such as `25%`.
pub fn percent(value: &str) -> Faults {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Faults::new();
    }
    vec![PERCENT.to_owned()]
}

/// A port number.
pub fn port_number(value: i64) -> Faults {
    in_range(value, 1, 65_535)
}

/// A user or group id.
pub fn id_number(value: i64) -> Faults {
    in_range(value, 0, i64::from(i32::MAX))
}

/// An IP address, v4 or v6.
pub fn ip_address(value: &str) -> Faults {
    if value.parse::<std::net::IpAddr>().is_ok() {
        return Faults::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// An IP address range such as `10.9.8.0/24`.
pub fn cidr(value: &str) -> Faults {
    let valid = value.split_once('/').is_some_and(|(address, length)| {
        let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u32>().is_ok_and(|length| length <= bits)
    });
    if valid {
        return Faults::new();
    }
    vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
}

/// A number from `low` to `high`.
pub fn in_range(value: i64, low: i64, high: i64) -> Faults {
    if (low..=high).contains(&value) {
        return Faults::new();
    }
    vec![format!("must be between {low} and {high}, inclusive")]
}

/// A name that can stand in a URL path.
pub fn path_segment(value: &str) -> Faults {
    match value {
        "." => vec!["may not be '.'".to_owned()],
        ".." => vec!["may not be '..'".to_owned()],
        _ => ['/', '%']
            .into_iter()
            .filter(|&c| value.contains(c))
            .map(|c| format!("may not contain '{c}'"))
            .collect(),
    }
}

/// A `generateName` as the names it makes: what follows a trailing dash will make the dash valid.
pub fn as_prefix(prefix: &str) -> std::borrow::Cow<'_, str> {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{}a", &rest[..rest.len() - trailing(rest)]).into(),
        _ => prefix.into(),
    }
}

/// Length of the last character of `text`, which is replaced together with the dash.
fn trailing(text: &str) -> usize {
    text.chars().next_back().map_or(0, char::len_utf8)
}

fn too_long(value: &str, max: usize) -> Faults {
    if value.len() <= max { Faults::new() } else { vec![format!("must be no more than {max} characters")] }
}

fn is_label_1123(value: &str) -> bool {
    let bytes = value.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    bytes.iter().all(inner) && bytes.first().is_some_and(|&b| b != b'-') && bytes.last() != Some(&b'-')
}

fn is_subdomain_1123(value: &str) -> bool {
    value.split('.').all(is_label_1123)
}

fn is_qualified_part(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_and_refused() {
        type Rule = fn(&str) -> Faults;
        let long = "x".repeat(64);
        for (rule, good, bad) in [
            (label_1123 as Rule, vec!["a", "0-a"], vec!["", "-a", "a-", "A", "a.b", &long]),
            (subdomain_1123, vec!["a", "a.b-c.0"], vec!["", ".a", "a..b", "a.-b"]),
            (label_1035, vec!["a-0"], vec!["0a", "a.b"]),
            (
                qualified_name,
                vec!["a", "A_b.c", "x.example/A"],
                vec!["", "/a", "x/", "X/a", "a/b/c", "-a", &long],
            ),
            (label_value, vec!["", "A.b_c"], vec!["a b", "-a", &long]),
            (config_key, vec![".a", "A_b"], vec!["", ".", "..", "..a", "a/b"]),
            (env_name, vec!["A b", "1.x"], vec!["", "a=b", "é"]),
            (port_name, vec!["http", "a-1"], vec!["", "80", "a--b", "-a", "A", "a-name-that-is-long"]),
            (percent, vec!["0%", "150%"], vec!["", "%", "1", "-1%"]),
            (ip_address, vec!["10.0.0.1", "2001:db8::1"], vec!["", "10.0.0", "10.0.0.256"]),
            (cidr, vec!["10.0.0.0/8", "::/0"], vec!["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/+8"]),
            (path_segment, vec!["a:b"], vec![".", "..", "a/b", "a%b"]),
        ] {
            for value in good {
                assert_eq!(rule(value), Faults::new(), "{value}");
            }
            for value in bad {
                assert_ne!(rule(value), Faults::new(), "{value}");
            }
        }
    }

    #[test]
    fn a_prefix_counts_as_the_names_it_makes() {
        for (prefix, name) in [("web-", "wea"), ("a-", "a"), ("-", "-"), ("web", "web"), ("Bad_", "Bad_")] {
            assert_eq!(as_prefix(prefix), name);
        }
    }
}
