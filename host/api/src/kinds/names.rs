//! The rules that names, labels and the like follow, and the sentences that say how they were broken.
//!
//! Each function returns what is wrong, in the words of the API server; nothing when the value is fine.

use std::net::IpAddr;

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

/// A label key, annotation key, resource name, …: `name` or `dns.prefix/name`.
pub fn qualified_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. \
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
        faults.extend(too_long_label(name).into_iter().map(|fault| format!("name part {fault}")));
    }
    if !is_qualified_part(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// The value of a label.
pub fn label_value(value: &str) -> Faults {
    let mut faults = too_long_label(value);
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

/// An IP address, v4 or v6, that every program reads alike.
pub fn ip_address(value: &str) -> Faults {
    let fault = match value.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            "must not be an IPv4-mapped IPv6 address"
        }
        Ok(_) => return Faults::new(),
        Err(_) if without_leading_zeros(value).parse::<IpAddr>().is_ok() => "must not have leading 0s",
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![fault.to_owned()]
}

/// An address that can be that of another machine: no address of a host to itself, or of a link.
pub fn endpoint_address(value: &str) -> Faults {
    let faults = ip_address(value);
    let Some(address) = value.parse::<IpAddr>().ok().filter(|_| faults.is_empty()) else { return faults };
    let (is_link_local, is_link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let unspecified = format!("may not be unspecified ({value})");
    let faults = [
        (address.is_unspecified(), &*unspecified),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (is_link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    faults.into_iter().filter(|(applies, _)| *applies).map(|(_, fault)| fault.to_owned()).collect()
}

/// `010.0.0.1` is octal to some programs and decimal to others: as it would be decimal.
fn without_leading_zeros(value: &str) -> String {
    let parts = value.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        rest => rest,
    });
    parts.collect::<Vec<_>>().join(".")
}

/// An IP address range such as `10.9.8.0/24`, that every program reads alike.
pub fn cidr(value: &str) -> Faults {
    let (address, length) = value.split_once('/').unwrap_or_default();
    let bits = length.parse::<u32>().ok().filter(|_| length.bytes().all(|b| b.is_ascii_digit()));
    let fault = match (without_leading_zeros(address).parse::<IpAddr>(), bits) {
        (Ok(sloppy), Some(bits)) if bits <= address_bits(sloppy) => {
            let is_exact = address.parse::<IpAddr>().is_ok() && bits.to_string() == length;
            match sloppy {
                _ if !is_exact => "must not have leading 0s in IP or prefix length",
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                    "must not have an IPv4-mapped IPv6 address"
                }
                _ if has_bits_beyond(sloppy, bits) => "must not have bits set beyond the prefix length",
                _ => return Faults::new(),
            }
        }
        _ => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    };
    vec![fault.to_owned()]
}

fn address_bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn has_bits_beyond(address: IpAddr, length: u32) -> bool {
    let value = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let host_bits = address_bits(address) - length;
    value & 1_u128.checked_shl(host_bits).map_or(u128::MAX, |above| above - 1) != 0
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

/// The same of what labels are made of, for which the API server says what it counts.
fn too_long_label(value: &str) -> Faults {
    if value.len() <= LABEL_LENGTH_MAX {
        Faults::new()
    } else {
        vec![format!("must be no more than {LABEL_LENGTH_MAX} bytes")]
    }
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
            (
                ip_address,
                vec!["10.0.0.1", "0.0.0.0", "2001:db8::1"],
                vec!["", "10.0.0", "10.0.0.256", "010.0.0.1", "::ffff:10.0.0.1"],
            ),
            (
                endpoint_address,
                vec!["10.0.0.1", "2001:db8::1", "224.0.1.1"],
                vec!["x", "0.0.0.0", "::", "127.9.9.9", "169.254.1.1", "fe80::1", "224.0.0.1", "ff02::1"],
            ),
            (
                cidr,
                vec!["10.0.0.0/8", "::/0", "0.0.0.0/0", "10.0.0.1/32"],
                vec![
                    "10.0.0.0",
                    "10.0.0.0/33",
                    "x/8",
                    "10.0.0.0/+8",
                    "10.0.0.0/08",
                    "010.0.0.0/8",
                    "10.0.0.1/8",
                    "::ffff:10.0.0.0/104",
                    "/8",
                    "10.0.0.0/",
                ],
            ),
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
