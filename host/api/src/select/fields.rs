//! Field selectors: `metadata.name=x,status.phase!=Running`.

/// A conjunction of requirements on fields; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// All must hold.
    pub requirements: Vec<FieldRequirement>,
}

/// One requirement on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, e.g. `spec.nodeName`.
    pub field: String,
    /// How its value is compared.
    pub operator: FieldOperator,
    /// With what it is compared.
    pub value: String,
}

/// How a field's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOperator {
    /// It is the same.
    Equals,
    /// It is another one.
    NotEquals,
}

impl FieldSelector {
    /// Reads the text of a `fieldSelector` parameter. `\` escapes a comma, an equals sign or itself.
    ///
    /// # Errors
    /// One sentence as the API server words it; the answer is 400 with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let (field, operator, value) = split_term(term)
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                operator,
                value: unescape(value)?,
            });
        }
        Ok(Self { requirements })
    }

    /// Checks that every field is one that the kind can be selected by (`metadata.name`, `metadata.namespace` and
    /// `known`).
    ///
    /// # Errors
    /// One sentence as the API server words it; the answer is 400 with it.
    pub fn check(&self, known: &[&str]) -> Result<(), String> {
        const OF_EVERY_KIND: [&str; 2] = ["metadata.name", "metadata.namespace"];
        let is_known = |field: &str| OF_EVERY_KIND.contains(&field) || known.contains(&field);
        match self.requirements.iter().find(|requirement| !is_known(&requirement.field)) {
            None => Ok(()),
            Some(unknown) if known.is_empty() => Err(format!(
                "\"{}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                unknown.field
            )),
            Some(unknown) => Err(format!("field label not supported: {}", unknown.field)),
        }
    }

    /// Whether all requirements hold; `value` gives a field's value (absent counts as empty).
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let is_equal = value(&requirement.field).unwrap_or_default() == requirement.value;
            is_equal == (requirement.operator == FieldOperator::Equals)
        })
    }

    /// The value that `field` must have, when the selector pins it.
    pub fn pinned(&self, field: &str) -> Option<&str> {
        let pins = |r: &&FieldRequirement| r.operator == FieldOperator::Equals && r.field == field;
        self.requirements.iter().find(pins).map(|requirement| requirement.value.as_str())
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// At the first operator; the field itself is never escaped.
fn split_term(term: &str) -> Option<(&str, FieldOperator, &str)> {
    let at = term.find(['=', '!'])?;
    for (word, operator) in
        [("!=", FieldOperator::NotEquals), ("==", FieldOperator::Equals), ("=", FieldOperator::Equals)]
    {
        if let Some(value) = term[at..].strip_prefix(word) {
            return Some((&term[..at], operator, value));
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                Some(other) => {
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            _ => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::FieldSelector;

    fn value(field: &str) -> Option<&'static str> {
        match field {
            "metadata.name" => Some("m1"),
            "status.phase" => Some("a,b=c"),
            _ => None,
        }
    }

    #[test]
    fn what_texts_select() {
        for (text, selected) in [
            ("", true),
            ("metadata.name=m1", true),
            ("metadata.name==m1,status.phase!=x", true),
            ("metadata.name!=m1", false),
            (r"status.phase=a\,b\=c", true),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
            (",metadata.name=m1,", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(value), selected, "{text}");
        }
        let selector = FieldSelector::parse("spec.nodeName=n,metadata.name!=x").unwrap();
        assert_eq!((selector.pinned("spec.nodeName"), selector.pinned("metadata.name")), (Some("n"), None));
    }

    #[test]
    fn worded_as_the_api_server_does() {
        for (text, error) in [
            ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            ("a!b", "invalid selector: 'a!b'; can't understand 'a!b'"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err(), error, "{text}");
        }
        let unknown = FieldSelector::parse("data.a=1").unwrap();
        assert_eq!(
            unknown.check(&[]).unwrap_err(),
            "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(unknown.check(&["spec.nodeName"]).unwrap_err(), "field label not supported: data.a");
        assert!(
            FieldSelector::parse("metadata.namespace=x,spec.nodeName=n")
                .unwrap()
                .check(&["spec.nodeName"])
                .is_ok()
        );
    }
}
