//! The JSON paths of columns: the part of kubectl's language that definitions use.
//!
//! `.spec.replicas`, `.metadata.labels['a/b']`, `.spec.a\.b`, `.items[0]`, `.items[-1]`, `.items[*].name`,
//! `.status.conditions[?(@.type=="Ready")].status`.

use std::cmp::Ordering;

use berth_json::Value;

use crate::structural::Number;

/// How long a path may be, and how many steps it may have; real ones have a hundred letters and five steps.
const PATH_BYTES_MAX: usize = 4096;
const STEPS_MAX: usize = 32;

/// A path that was read.
#[derive(Clone, Debug)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Index(i64),
    Every,
    Filter(Filter),
}

/// `?(@.a == "b")`; without an operator, whether there is something.
#[derive(Clone, Debug)]
struct Filter {
    path: JsonPath,
    comparison: Option<(Operator, Value)>,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl JsonPath {
    /// Reads a path; none when it is not of the language, or too long.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            return None;
        }
        let (mut rest, mut steps) = (text, Vec::new());
        while !rest.is_empty() {
            let step;
            (step, rest) = match rest.strip_prefix('[') {
                Some(inner) => bracket(inner)?,
                None => field(rest.strip_prefix('.')?)?,
            };
            // A lone dot is the object itself.
            steps.extend(step);
        }
        (steps.len() <= STEPS_MAX).then_some(Self(steps))
    }

    /// The first value that the path leads to.
    pub(crate) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        first(&self.0, value)
    }
}

fn first<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => first(rest, value.get(name.as_str())?),
        Step::Index(at) => {
            let list = value.as_array()?;
            let at = if *at < 0 { *at + list.len() as i64 } else { *at };
            first(rest, list.get(usize::try_from(at).ok()?)?)
        }
        Step::Every => match value {
            Value::Array(elements) => elements.iter().find_map(|element| first(rest, element)),
            Value::Object(fields) => fields.values().find_map(|field| first(rest, field)),
            _ => None,
        },
        Step::Filter(filter) => {
            let mut chosen = value.as_array()?.iter().filter(|element| filter.chooses(element));
            chosen.find_map(|element| first(rest, element))
        }
    }
}

impl Filter {
    fn chooses(&self, element: &Value) -> bool {
        let found = self.path.first(element);
        let Some((operator, wanted)) = &self.comparison else { return found.is_some() };
        let Some(found) = found else { return false };
        let order = match (Number::of(found), Number::of(wanted)) {
            (Some(found), Some(wanted)) => found.compare(wanted),
            _ => match (found.as_str(), wanted.as_str()) {
                (Some(found), Some(wanted)) => Some(found.cmp(wanted)),
                _ => (found == wanted).then_some(Ordering::Equal),
            },
        };
        match operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::NotEqual => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Operator::More => order == Some(Ordering::Greater),
            Operator::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A name up to the next dot or bracket; a backslash takes the next letter as it is.
fn field(rest: &str) -> Option<(Option<Step>, &str)> {
    let mut name = String::new();
    let mut letters = rest.char_indices();
    let end = loop {
        match letters.next() {
            None => break rest.len(),
            Some((_, '\\')) => name.push(letters.next()?.1),
            Some((at, '.' | '[')) => break at,
            // Kubernetes' own language has more to follow here, and paths of definitions do not use it.
            Some((_, '{' | '}' | '(' | ')' | ']')) => return None,
            Some((_, letter)) => name.push(letter),
        }
    };
    let after = &rest[end..];
    // Two dots would look everywhere below.
    if name.is_empty() && after.starts_with('.') {
        return None;
    }
    let step = match &*name {
        "" => None,
        "*" => Some(Step::Every),
        _ => Some(Step::Field(name)),
    };
    Some((step, after))
}

fn bracket(inner: &str) -> Option<(Option<Step>, &str)> {
    if let Some(condition) = inner.strip_prefix("?(") {
        let end = unquoted_end(condition, ")]")?;
        let filter = filter(&condition[..end])?;
        return Some((Some(Step::Filter(filter)), &condition[end + 2..]));
    }
    let end = unquoted_end(inner, "]")?;
    let (text, after) = (inner[..end].trim(), &inner[end + 1..]);
    let step = match literal(text) {
        _ if text == "*" => Step::Every,
        Some(Value::String(name)) => Step::Field(name.to_string()),
        Some(number) => Step::Index(number.as_i64()?),
        None => return None,
    };
    Some((Some(step), after))
}

/// Where `closing` stands outside of quotes.
fn unquoted_end(text: &str, closing: &str) -> Option<usize> {
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            Some(_) if letter == '\\' => drop(letters.next()),
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            None if text[at..].starts_with(closing) => return Some(at),
            None => {}
        }
    }
    None
}

fn filter(text: &str) -> Option<Filter> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::More),
    ];
    let found = OPERATORS
        .into_iter()
        .filter_map(|(word, operator)| unquoted_end(text, word).map(|at| (at, word, operator)));
    let (path, comparison) = match found.min_by_key(|(at, word, _)| (*at, std::cmp::Reverse(word.len()))) {
        Some((at, word, operator)) => {
            (&text[..at], Some((operator, literal(text[at + word.len()..].trim())?)))
        }
        None => (text, None),
    };
    let path = path.trim().strip_prefix('@')?;
    // A filter in a filter would cost the product of both.
    let path =
        JsonPath::parse(path).filter(|path| !path.0.iter().any(|step| matches!(step, Step::Filter(_))))?;
    Some(Filter { path, comparison })
}

/// A text in quotes, a number or a truth value.
fn literal(text: &str) -> Option<Value> {
    for quote in ['\'', '"'] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return Some(inner.replace("\\", "").into());
        }
    }
    match text.parse::<Value>().ok()? {
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::JsonPath;

    #[test]
    fn what_paths_lead_to() {
        let object = json!({
            "spec": {"size": 3, "a.b": 1},
            "metadata": {"labels": {"a/b": "c"}, "annotations": {"x.y/z": "w"}},
            "items": [{"n": "a", "v": 1}, {"n": "b", "v": 2}, {"v": 3, "on": true}],
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "It's", "status": "no"}]},
        });
        for (path, want) in [
            (".spec.size", Some(json!(3))),
            (".spec['size']", Some(json!(3))),
            (r".spec.a\.b", Some(json!(1))),
            (r".metadata.annotations.x\.y/z", Some(json!("w"))),
            (".metadata.labels['a/b']", Some(json!("c"))),
            (".items[1].n", Some(json!("b"))),
            (".items[-1].v", Some(json!(3))),
            (".items[*].n", Some(json!("a"))),
            (".items[7].n", None),
            (".items[?(@.v>1)].v", Some(json!(2))),
            (".items[?(@.v >= 3)].v", Some(json!(3))),
            (".items[?(@.n!=\"a\")].n", Some(json!("b"))),
            (".items[?(@.on)].v", Some(json!(3))),
            (".items[?(@.on==true)].v", Some(json!(3))),
            (".status.conditions[?(@.type=='Ready')].status", Some(json!("True"))),
            (".status.conditions[?(@.type==\"It's\")].status", Some(json!("no"))),
            (".spec.none.deeper", None),
            (".", Some(object.clone())),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().first(&object), want.as_ref(), "{path}");
        }
    }

    #[test]
    fn what_is_no_path() {
        let long = format!(".{}", "a".repeat(5000));
        for path in
            ["spec", ".a..b", ".a[", ".a[x]", ".a[?(@.b==)]", ".a[?(b)]", ".a{", &*long, &*".a".repeat(33)]
        {
            assert!(JsonPath::parse(path).is_none(), "{path}");
        }
        assert!(JsonPath::parse(".a[?(@.b[?(@.c)])]").is_none());
    }
}
