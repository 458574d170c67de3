//! Paths as definitions write them: `.spec.replicas`, `.metadata.labels['a/b']`.

use crate::structural::{Additional, Structural};

/// How long a path may be; real ones have a few dozen letters.
const PATH_BYTES_MAX: usize = 4096;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `.name`, or `['name']` of an object with fields.
    Field(String),
    /// The key of a map.
    Key(String),
}

/// The steps of a path, and the schema of the place that it leads to.
///
/// # Errors
/// Why it leads nowhere, in the words of the API server.
pub(crate) fn follow<'s>(
    path: &str,
    schema: &'s Structural,
    may_bracket: bool,
) -> Result<(Vec<Step>, &'s Structural), String> {
    const END: &str = "unexpected end of JSON path";
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("is longer than {PATH_BYTES_MAX} bytes"));
    }
    let (mut rest, mut steps, mut here) = (path, Vec::new(), schema);
    while let Some(first) = rest.chars().next() {
        let name = match first {
            '.' => {
                let (name, after) = token(&rest[1..]);
                rest = after;
                if name.is_empty() {
                    return Err(END.to_owned());
                }
                name.to_owned()
            }
            '[' if !may_bracket => return Err("array notation is not allowed".to_owned()),
            '[' => {
                let (quoted, after) = token(&rest[1..]);
                if quoted.is_empty() {
                    return Err(END.to_owned());
                }
                let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let name = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                let (close, after) = token(after);
                if close.is_empty() {
                    return Err(END.to_owned());
                }
                if close != "]" {
                    return Err(format!("expected ] but got {close}"));
                }
                rest = after;
                unquoted(name).ok_or_else(|| format!("invalid string literal: {name}"))?
            }
            _ => return Err(format!("expected [ or . but got: {}", token(rest).0)),
        };
        (steps, here) = step(steps, here, name)?;
    }
    Ok((steps, here))
}

fn step(mut steps: Vec<Step>, here: &Structural, name: String) -> Result<(Vec<Step>, &Structural), String> {
    const NOWHERE: &str = "does not refer to a valid field";
    let next = match (&here.additional, here.properties.get(&*name)) {
        (_, Some(field)) => {
            steps.push(Step::Field(name));
            field
        }
        (Additional::Schema(values), None) if here.properties.is_empty() => {
            steps.push(Step::Key(name));
            values
        }
        _ => return Err(NOWHERE.to_owned()),
    };
    Ok((steps, next))
}

/// The first word of a path: a delimiter, a quoted text, or what stands before the next delimiter.
fn token(rest: &str) -> (&str, &str) {
    let bytes = rest.as_bytes();
    let end = match bytes.first() {
        None => 0,
        Some(b'.' | b'[' | b']') => 1,
        Some(b'\'') => {
            let close = (1..bytes.len()).find(|&at| bytes[at] == b'\'' && bytes[at - 1] != b'\\');
            close.map_or(bytes.len(), |at| at + 1)
        }
        Some(_) => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
    };
    rest.split_at(end)
}

/// A quoted text without its backslashes.
fn unquoted(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                escaped @ ('\'' | '"' | '\\') => escaped,
                _ => return None,
            },
            letter => letter,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::{Step, follow};
    use crate::Structural;

    #[test]
    fn paths() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }}))
        .unwrap();
        for (path, want) in [
            (".spec.a", Ok(2)),
            (".spec['a']", Ok(2)),
            (".spec.labels['x/y']", Ok(3)),
            (".spec.labels.x", Ok(3)),
            (".spec.b", Err("does not refer to a valid field")),
            (".spec.a.b", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: spec")),
            (".", Err("unexpected end of JSON path")),
            (".spec[a]", Err("expected single quoted string but got a")),
            (".spec['a'", Err("unexpected end of JSON path")),
            (".spec['a'.", Err("expected ] but got .")),
        ] {
            let got = follow(path, &schema, true).map(|(steps, _)| steps.len());
            assert_eq!(got.as_ref().map_err(String::as_str), want.as_ref().map_err(|why| *why), "{path}");
        }
        assert_eq!(follow(".spec['a']", &schema, false).unwrap_err(), "array notation is not allowed");
        let (steps, _) = follow(r".spec.labels['it\'s']", &schema, true).unwrap();
        assert_eq!(steps[2], Step::Key("it's".to_owned()));
    }
}
