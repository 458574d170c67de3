//! Names as definitions write them.

use berth_api::kinds::names::{Faults, LABEL_LENGTH_MAX};

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// A DNS label that begins with a letter (RFC 1035): plurals, versions, kinds in lower case.
pub(crate) fn label_1035(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > LABEL_LENGTH_MAX {
        faults.push(format!("must be no more than {LABEL_LENGTH_MAX} characters"));
    }
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = value.starts_with(|c: char| c.is_ascii_lowercase())
        && value.bytes().all(is_inner)
        && !value.ends_with('-');
    if !is_label {
        faults.push(LABEL_1035.to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::label_1035;

    #[test]
    fn labels() {
        for (name, is_label) in [
            ("a", true),
            ("a-1", true),
            ("", false),
            ("1a", false),
            ("a-", false),
            ("A", false),
            ("a.b", false),
        ] {
            assert_eq!(label_1035(name).is_empty(), is_label, "{name}");
        }
        assert_eq!(label_1035(&"a".repeat(64)).len(), 1);
    }
}
