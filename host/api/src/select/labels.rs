//! Label selectors: the text of `labelSelector=` and the object `LabelSelector`.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use berth_json::{Map, Text, Value};

use super::parse;

/// Where a label's value is looked up.
pub trait Labels {
    /// The value of the label `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

/// A conjunction of requirements on labels; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
}

/// How a label's value is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there with this value.
    Equals(String),
    /// The label is absent or has another value.
    NotEquals(String),
    /// The label is there with one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above this one.
    Greater(i64),
    /// The label is an integer below this one.
    Less(i64),
}

impl Selector {
    /// Reads the text of a `labelSelector` parameter: `a=b,c!=d,e in (f, g),!h,i>3`.
    ///
    /// # Errors
    /// One sentence as the API server words it; the answer is 400 with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = parse::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// Reads a `LabelSelector` object. An absent (null) selector selects nothing (`None`), an empty one everything.
    ///
    /// # Errors
    /// One sentence: `"x" is not a valid label selector operator` and the like.
    pub fn from_object(object: &Value) -> Result<Option<Self>, String> {
        if object.is_null() {
            return Ok(None);
        }
        let labels = object.get("matchLabels").and_then(Value::as_object);
        let mut selector = labels.map(Self::from_map).unwrap_or_default();
        for expression in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let operator = match text("operator") {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("\"{other}\" is not a valid label selector operator")),
            };
            selector.requirements.push(Requirement { key: text("key").to_owned(), operator });
        }
        selector.requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Some(selector))
    }

    /// The selector that requires exactly these labels (`matchLabels`, a Service's or Node selector).
    pub fn from_map(labels: &Map) -> Self {
        let requirement = |(key, value): (&Text, &Value)| Requirement {
            key: key.to_string(),
            operator: Operator::Equals(value.as_str().unwrap_or_default().to_owned()),
        };
        Self { requirements: labels.iter().map(requirement).collect() }
    }

    /// Whether all requirements hold.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels.label(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::Equals(wanted) => value == Some(wanted),
            Operator::NotEquals(unwanted) => value != Some(unwanted),
            Operator::In(wanted) => value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value)),
            Operator::NotIn(unwanted) => !value.is_some_and(|value| unwanted.iter().any(|one| one == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Greater(limit) => number().is_some_and(|number| number > *limit),
            Operator::Less(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

/// The text form, sorted by key: what a Scale's `status.selector` holds.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = |values: &[String]| {
            let mut sorted = values.to_vec();
            sorted.sort();
            sorted.join(",")
        };
        match &self.operator {
            Operator::Equals(value) => write!(f, "{key}={value}"),
            Operator::NotEquals(value) => write!(f, "{key}!={value}"),
            Operator::In(values) => write!(f, "{key} in ({})", list(values)),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Greater(limit) => write!(f, "{key}>{limit}"),
            Operator::Less(limit) => write!(f, "{key}<{limit}"),
        }
    }
}

impl Labels for Map {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| name.as_ref() == key).map(|(_, value)| value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;
    use proptest::prelude::*;

    use super::Selector;

    const LABELS: [(&str, &str); 3] = [("set", "s"), ("n", "3"), ("empty", "")];

    #[test]
    fn what_texts_select() {
        for (text, selected) in [
            ("", true),
            ("set=s", true),
            (" set = s , n == 3 ", true),
            ("set!=s", false),
            ("absent!=s", true),
            ("n in (1, 3)", true),
            ("n notin (1,2)", true),
            ("absent notin (1)", true),
            ("n in ()", false),
            ("empty in ()", true),
            ("empty=", true),
            ("set,!absent", true),
            ("!set", false),
            ("n>2,n<4", true),
            ("n>3", false),
            ("set>1", false),
            ("in in (x)", false),
            ("example.com/a=b", false),
        ] {
            let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(&LABELS[..]), selected, "{text}");
        }
    }

    #[test]
    fn worded_as_the_api_server_does() {
        for (text, error) in [
            ("a b=c", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": \
                 for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err(), error, "{text}");
        }
        assert!(Selector::parse("a=b_").unwrap_err().contains("a valid label must be an empty string or"));
        assert!(Selector::parse("-a=b").unwrap_err().contains("name part must consist of"));
    }

    #[test]
    fn objects_and_their_text() {
        let object = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "z", "operator": "NotIn", "values": ["b", "a"]},
                {"key": "aa", "operator": "Exists"},
            ],
        });
        let selector = Selector::from_object(&object).unwrap().unwrap();
        assert_eq!(selector.to_string(), "aa,app=web,z notin (a,b)");
        assert_eq!(Selector::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
        assert!(!selector.matches(json!({"app": "web"}).as_object().unwrap()));
        assert!(selector.matches(json!({"app": "web", "aa": ""}).as_object().unwrap()));
        assert_eq!(Selector::from_object(&json!(null)), Ok(None));
        assert!(Selector::from_object(&json!({})).unwrap().unwrap().is_empty());
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        let error = Selector::from_object(&wrong).unwrap_err();
        assert_eq!(error, "\"Near\" is not a valid label selector operator");
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-c=!<>(), in/.-]{0,24}|.{0,16}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
            }
        }
    }
}
