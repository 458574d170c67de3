//! The formats that Kubernetes v1.37 checks; others say nothing.

use std::net::IpAddr;

use berth_api::Timestamp;
use berth_api::kinds::names;
use berth_json::Text;

/// A `format` that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// As the schema writes it.
    pub(crate) name: Text,
    pub(crate) kind: FormatKind,
}

/// What a format is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatKind {
    Int32,
    Int64,
    Float,
    Double,
    /// Of a string.
    Text(TextFormat),
}

macro_rules! text_formats {
    ($($name:literal $variant:ident $check:expr;)*) => {
        /// The formats of strings, named without dashes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum TextFormat { $($variant),* }

        impl TextFormat {
            /// The format of a name without dashes.
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Whether a text is of this format.
            pub(crate) fn matches(self, text: &str) -> bool {
                match self { $(Self::$variant => $check(text)),* }
            }
        }
    };
}

text_formats! {
    "bsonobjectid" ObjectId |text: &str| text.len() == 24 && is_hex(text);
    "uri" Uri is_uri;
    "email" Email is_email;
    "hostname" Hostname is_hostname;
    "ipv4" Ipv4 |text: &str| matches!(text.parse(), Ok(IpAddr::V4(_)));
    "ipv6" Ipv6 |text: &str| matches!(text.parse(), Ok(IpAddr::V6(_)));
    "cidr" Cidr is_cidr;
    "mac" Mac is_mac;
    "uuid" Uuid |text| is_uuid(text, None);
    "uuid3" Uuid3 |text| is_uuid(text, Some('3'));
    "uuid4" Uuid4 |text| is_uuid(text, Some('4'));
    "uuid5" Uuid5 |text| is_uuid(text, Some('5'));
    "isbn" Isbn |text| is_isbn10(text) || is_isbn13(text);
    "isbn10" Isbn10 is_isbn10;
    "isbn13" Isbn13 is_isbn13;
    "creditcard" CreditCard is_credit_card;
    "ssn" Ssn is_ssn;
    "hexcolor" HexColor is_hex_color;
    "rgbcolor" RgbColor is_rgb_color;
    "byte" Byte is_base64;
    "password" Password |_| true;
    "date" Date is_date;
    "duration" Duration is_duration;
    "datetime" DateTime is_date_time;
    "k8sshortname" ShortName |text| names::label_1123(text).is_empty();
    "k8slongname" LongName |text| names::subdomain_1123(text).is_empty();
}

impl Format {
    /// The format of that name, when values of the type are checked for it; `json_type` is empty when there is none.
    pub(crate) fn of(name: &str, json_type: &str) -> Option<Self> {
        let kind = match (json_type, name) {
            ("integer", "int32") => FormatKind::Int32,
            ("integer", "int64") => FormatKind::Int64,
            ("number", "float") => FormatKind::Float,
            ("number", "double") => FormatKind::Double,
            ("" | "string", name) => FormatKind::Text(TextFormat::named(&name.replace('-', ""))?),
            _ => return None,
        };
        Some(Self { name: name.into(), kind })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// As Go's `url.ParseRequestURI`: a scheme, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once(':').filter(|_| !text.starts_with('/')) else {
        return text.starts_with('/') || text == "*";
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let host = rest.strip_prefix("//").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host_is_fine =
        host.is_none_or(|host| !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}']));
    is_scheme && !rest.is_empty() && host_is_fine
}

/// One address, with or without a name before it: `a@b`, `A B <a@b>`.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_atom = |text: &str| {
        let allowed =
            |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        text.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
    };
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (is_quoted || is_atom(local)) && is_atom(domain)
}

/// Labels of letters, digits and inner dashes; of several, the last one is of letters.
fn is_hostname(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let is_inner = |c: char| c.is_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        let length = label.chars().count();
        let at_ends = label.starts_with(char::is_alphanumeric) && label.ends_with(char::is_alphanumeric);
        (1..=63).contains(&length) && label.len() <= 63 && at_ends && label.chars().all(is_inner)
    };
    let top = labels.last().copied().unwrap_or_default();
    let top_is_fine = labels.len() == 1 || (top.chars().count() >= 2 && top.chars().all(char::is_alphabetic));
    text.len() <= 255 && top_is_fine && labels.iter().all(|label| is_label(label))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let bits = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.bytes().all(|byte| byte.is_ascii_digit())
        && length.parse::<u32>().is_ok_and(|length| length <= bits)
}

/// Six, eight or twenty bytes, parted by colons or dashes, or by dots two by two.
fn is_mac(text: &str) -> bool {
    let of_parts = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| part.len() == width && is_hex(part))
    };
    of_parts(':', 2, &[6, 8, 20]) || of_parts('-', 2, &[6, 8, 20]) || of_parts('.', 4, &[3, 4, 10])
}

/// 32 hexadecimal digits with or without dashes between 8, 4, 4, 4 and 12 of them.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut digits = String::with_capacity(32);
    for c in text.chars() {
        match c {
            '-' if matches!(digits.len(), 8 | 12 | 16 | 20) => {}
            c if c.is_ascii_hexdigit() => digits.push(c.to_ascii_lowercase()),
            _ => return false,
        }
    }
    let has_doubled_dash = text.contains("--");
    let of_version = version.is_none_or(|version| {
        let has_variant = version == '3' || digits[16.min(digits.len())..].starts_with(['8', '9', 'a', 'b']);
        digits[12.min(digits.len())..].starts_with(version) && has_variant
    });
    digits.len() == 32 && !has_doubled_dash && !text.ends_with('-') && of_version
}

fn without_separators(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = without_separators(text);
    let value = |(at, c): (usize, char)| match c {
        'X' if at == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.chars().enumerate().map(value).collect();
    values.is_some_and(|values| {
        values.len() == 10 && (1..).zip(&values).map(|(weight, value)| weight * value).sum::<u32>() % 11 == 0
    })
}

fn is_isbn13(text: &str) -> bool {
    let digits = without_separators(text);
    let values: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(10)).collect();
    values.is_some_and(|values| {
        let weighted = values.iter().enumerate().map(|(at, value)| value * if at % 2 == 0 { 1 } else { 3 });
        values.len() == 13 && digits.starts_with("97") && weighted.sum::<u32>() % 10 == 0
    })
}

/// The lengths and first digits of the card companies, and Luhn's sum.
fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let first = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let is_known = match digits.len() {
        13 => first(1) == 4,
        14 => matches!(first(3), 300..=305) || matches!(first(2), 36 | 38),
        15 => matches!(first(2), 34 | 37) || matches!(first(4), 2131 | 1800),
        16 => first(1) == 4 || matches!(first(2), 35 | 51..=55 | 65) || first(4) == 6011,
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match digit * (1 + at as u32 % 2) {
            doubled @ 10.. => doubled - 9,
            plain => plain,
        })
        .sum();
    is_known && sum.is_multiple_of(10)
}

/// Nine digits, parted after three and five by a dash or a space or not.
fn is_ssn(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let plain = shape.replace(' ', "-");
    matches!(&*plain, "000000000" | "000-00-0000" | "000-000000" | "00000-0000")
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

/// `rgb(255, 0, 12)`.
fn is_rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let parts: Vec<&str> = inner.unwrap_or_default().split(',').map(str::trim).collect();
    let is_part = |part: &&str| {
        let is_plain =
            part.bytes().all(|byte| byte.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'));
        is_plain && part.parse::<u8>().is_ok()
    };
    parts.len() == 3 && parts.iter().all(is_part)
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !text.is_empty() && text.len().is_multiple_of(4) && padding <= 2 && body.bytes().all(is_letter)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some()
}

fn is_date_time(text: &str) -> bool {
    Timestamp::parse(text).is_some()
}

/// What Go's `time.ParseDuration` reads, or numbers with the units of its elders: `22 ns`, `3 weeks`.
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || is_worded_duration(text)
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let number = &rest[..digits];
        if !number.bytes().any(|byte| byte.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        // The two letters of `ms` before the one of `m`.
        let mut units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter();
        let Some(unit) = units.find(|unit| rest[digits..].starts_with(unit)) else { return false };
        rest = &rest[digits + unit.len()..];
        parts += 1;
    }
    parts > 0
}

fn is_worded_duration(text: &str) -> bool {
    const EXACT: [&str; 12] = ["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk", "day"];
    const BEGINNINGS: [&str; 8] = ["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    let mut is_known = false;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[at..].bytes().take_while(u8::is_ascii_digit).count();
        if rest[at..at + digits].parse::<i64>().is_err() {
            return false;
        }
        rest = rest[at + digits..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(rest.len());
        let unit = rest[..end].to_lowercase();
        is_known |= EXACT.contains(&&*unit) || BEGINNINGS.into_iter().any(|begin| unit.starts_with(begin));
        rest = &rest[end..];
    }
    is_known
}

#[cfg(test)]
mod tests {
    use super::{Format, FormatKind};

    #[test]
    fn texts_of_each_format() {
        let cases: [(&str, &[&str], &[&str]); 24] = [
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f", "507f1f77bcf86cd79943901x"]),
            ("uri", &["http://a/b?c", "/a", "urn:a"], &["a", "", "://x", "http://a b/"]),
            ("email", &["a@b.c", "A B <a.b@c>"], &["a", "@b", "a@", "a b@c"]),
            ("hostname", &["a", "a.example", "1a.b.org"], &["", "-a", "a-", "a.1", "a..b"]),
            ("ipv4", &["10.0.0.1"], &["10.0.0", "::1", "10.0.0.256"]),
            ("ipv6", &["::1", "2001:db8::1"], &["10.0.0.1", ":::"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]),
            ("mac", &["01:02:03:04:05:ab", "0102.0304.05ab"], &["01:02", "0102030405ab"]),
            (
                "uuid",
                &["a3f0c1d2-0000-4000-8000-000000000000"],
                &["a3f0", "--a3f0c1d2000040008000000000000000"],
            ),
            ("uuid4", &["a3f0c1d2-0000-4000-8000-000000000000"], &["a3f0c1d2-0000-3000-8000-000000000000"]),
            ("isbn10", &["0321751043"], &["0321751044", "1"]),
            ("isbn13", &["978-0321751041"], &["978-0321751042"]),
            ("isbn", &["0321751043", "978-0321751041"], &["x"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "4"]),
            ("ssn", &["111-11-1111", "111111111"], &["11-111-1111", "111-11-111"]),
            ("hexcolor", &["#FFFFFF", "abc"], &["#ff", "ggg"]),
            ("rgbcolor", &["rgb(255, 0,12)"], &["rgb(256,0,0)", "255,0,0"]),
            ("byte", &["YWI=", "YWJj"], &["YWI", "a===", "a b="]),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "2024-02-29T00:00:00Z"]),
            ("duration", &["1h2m3.5s", "22 ns", "-5ms", "3 weeks", "0"], &["", "x", "5", "5 parsecs"]),
            (
                "date-time",
                &["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.1+01:00"],
                &["yesterday", "2024-01-02"],
            ),
            ("k8s-short-name", &["a-b"], &["A", "a.b"]),
            ("k8s-long-name", &["a.b"], &["a_b"]),
            ("password", &["", "x"], &[]),
        ];
        for (name, good, bad) in cases {
            let Some(FormatKind::Text(format)) = Format::of(name, "string").map(|format| format.kind) else {
                panic!("{name}")
            };
            good.iter().for_each(|text| assert!(format.matches(text), "{name} {text}"));
            bad.iter().for_each(|text| assert!(!format.matches(text), "{name} {text}"));
        }
    }

    #[test]
    fn formats_of_other_types() {
        let of = |name, json_type| Format::of(name, json_type).map(|format| format.kind);
        assert_eq!(of("int32", "integer"), Some(FormatKind::Int32));
        assert_eq!(of("float", "number"), Some(FormatKind::Float));
        assert_eq!(of("int32", "string"), None);
        assert_eq!(of("date", "integer"), None);
        assert_eq!(of("unheard-of", "string"), None);
    }
}
