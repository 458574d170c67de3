//! The columns that `kubectl get` shows of custom resources.

use berth_api::kinds::view;
use berth_api::resource::Column;
use berth_api::{Timestamp, table};
use berth_json::Value;

use crate::definition::COLUMN_TYPES;
use crate::faults::go_number;
use crate::json_path::JsonPath;
use crate::structural::Number;

/// The columns of one version.
#[derive(Clone, Debug)]
pub(crate) struct Columns(Vec<OneColumn>);

#[derive(Clone, Debug)]
struct OneColumn {
    heading: Column,
    /// None when the path is of no language that is known here: the cells are empty.
    path: Option<JsonPath>,
}

impl Columns {
    /// Reads `additionalPrinterColumns`; without any, the age is shown.
    pub(crate) fn of(columns: &Value) -> Self {
        let declared: Vec<OneColumn> =
            columns.as_array().into_iter().flatten().filter_map(declared).collect();
        if !declared.is_empty() {
            return Self(declared);
        }
        let path = ".metadata.creationTimestamp";
        let heading = Column {
            name: "Age".to_owned(),
            kind: "date",
            format: "".into(),
            description: "Time since the object was created.".to_owned(),
            priority: 0,
        };
        Self(vec![OneColumn { heading, path: JsonPath::parse(path) }])
    }

    pub(crate) fn headings(&self) -> Vec<Column> {
        let name = Column {
            name: "Name".to_owned(),
            kind: "string",
            format: "name".into(),
            description: "Name of the object, unique within its namespace.".to_owned(),
            priority: 0,
        };
        std::iter::once(name).chain(self.0.iter().map(|column| column.heading.clone())).collect()
    }

    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cells = self.0.iter().map(|column| {
            let found = column.path.as_ref().and_then(|path| path.first(object));
            found.map_or(Value::Null, |value| cell(column.heading.kind, value, now))
        });
        std::iter::once(view::name(object).into()).chain(cells).collect()
    }
}

fn declared(column: &Value) -> Option<OneColumn> {
    let text = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = COLUMN_TYPES.into_iter().find(|kind| *kind == text("type"))?;
    let path = text("jsonPath");
    let description = match text("description") {
        empty if empty.is_empty() => {
            format!("Custom resource definition column (in JSONPath format): {path}")
        }
        description => description,
    };
    let priority =
        column.get("priority").and_then(Value::as_i64).and_then(|priority| i32::try_from(priority).ok());
    let heading = Column {
        name: text("name"),
        kind,
        format: text("format").into(),
        description,
        priority: priority.unwrap_or_default(),
    };
    Some(OneColumn { heading, path: JsonPath::parse(&path) })
}

/// A value as a column of a type shows it; null when it is of another type.
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", Value::Number(_)) => Number::of(value).map(go_number).into(),
        ("string", other) => other.to_string().into(),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => {
            if Timestamp::parse(text).is_some() {
                table::age(Some(text), now).into()
            } else {
                "<invalid>".into()
            }
        }
        ("integer", _) => match Number::of(value) {
            Some(Number::Int(int)) => int.into(),
            Some(Number::Float(float)) => (float as i64).into(),
            None => Value::Null,
        },
        ("number", _) => Number::of(value).map_or(Value::Null, |_| value.clone()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use berth_api::Timestamp;
    use berth_json::json;

    use super::Columns;

    #[test]
    fn cells_by_type() {
        let column = |kind: &str| json!({"name": "C", "type": kind, "jsonPath": ".v"});
        let now = Timestamp::from_seconds(100);
        for (kind, value, cell) in [
            ("string", json!("a"), json!("a")),
            ("string", json!(5), json!("5")),
            ("string", json!(true), json!("true")),
            ("string", json!({"a": 1}), json!("{\"a\":1}")),
            ("integer", json!(5), json!(5)),
            ("integer", json!(5.7), json!(5)),
            ("integer", json!("5"), json!(null)),
            ("number", json!(5.5), json!(5.5)),
            ("boolean", json!(false), json!(false)),
            ("boolean", json!("false"), json!(null)),
            ("date", json!("1970-01-01T00:01:30Z"), json!("10s")),
            ("date", json!("yesterday"), json!("<invalid>")),
            ("date", json!(5), json!(null)),
            ("string", json!(null), json!(null)),
        ] {
            let columns = Columns::of(&json!([column(kind)]));
            let object = json!({"metadata": {"name": "n"}, "v": value});
            assert_eq!(columns.cells(&object, now), [json!("n"), cell], "{kind} {value}");
        }
    }

    #[test]
    fn without_columns_there_is_an_age() {
        let columns = Columns::of(&json!(null));
        let names: Vec<String> = columns.headings().into_iter().map(|heading| heading.name).collect();
        assert_eq!(names, ["Name", "Age"]);
        let object = json!({"metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:00:00Z"}});
        assert_eq!(columns.cells(&object, Timestamp::from_seconds(5)), [json!("n"), json!("5s")]);
        let missing = Columns::of(&json!([{"name": "S", "type": "string", "jsonPath": ".a..b"}]));
        assert_eq!(missing.cells(&object, Timestamp::from_seconds(5)), [json!("n"), json!(null)]);
    }
}
