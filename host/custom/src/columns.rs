//! The columns that `kubectl get` shows of custom resources.

use berth_api::column::Column;
use berth_api::{Timestamp, table};
use berth_json::Value;

use crate::definition::COLUMN_TYPES;
use crate::faults::go_number;
use crate::json_path::JsonPath;
use crate::structural::Number;

/// Reads `additionalPrinterColumns`; without any, the age is shown.
pub(crate) fn columns(declared: &Value) -> Vec<Column> {
    let own = declared.as_array().into_iter().flatten().filter_map(column);
    let mut columns: Vec<Column> = std::iter::once(Column::of_name()).chain(own).collect();
    if columns.len() == 1 {
        columns.push(Column { kind: "date", ..Column::of_age() });
    }
    columns
}

/// One column; the cells are empty when its path is of no language that is known here.
fn column(declared: &Value) -> Option<Column> {
    let text = |name: &str| declared.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = COLUMN_TYPES.into_iter().find(|kind| *kind == text("type"))?;
    let path = text("jsonPath");
    let description = match text("description") {
        empty if empty.is_empty() => {
            format!("Custom resource definition column (in JSONPath format): {path}")
        }
        description => description,
    };
    let priority = declared.get("priority").and_then(Value::as_i64);
    let priority = priority.and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default();
    let path = JsonPath::parse(&path);
    let shown = move |object: &Value, now| {
        let found = path.as_ref().and_then(|path| path.first(object));
        found.map_or(Value::Null, |value| cell(kind, value, now))
    };
    let format = text("format").into();
    Some(Column { format, ..Column::new(text("name"), kind, priority, description, shown) })
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
    use berth_api::column::Column;
    use berth_json::{Value, json};

    use super::columns;

    fn cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
        columns.iter().map(|column| (column.cell)(object, now)).collect()
    }

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
            let columns = columns(&json!([column(kind)]));
            let object = json!({"metadata": {"name": "n"}, "v": value});
            assert_eq!(cells(&columns, &object, now), [json!("n"), cell], "{kind} {value}");
        }
    }

    #[test]
    fn without_columns_there_is_an_age() {
        let aged = columns(&json!(null));
        let headings: Vec<_> = aged.iter().map(|column| (&*column.name, column.kind)).collect();
        assert_eq!(headings, [("Name", "string"), ("Age", "date")]);
        let object = json!({"metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:00:00Z"}});
        assert_eq!(cells(&aged, &object, Timestamp::from_seconds(5)), [json!("n"), json!("5s")]);
        let missing = columns(&json!([{"name": "S", "type": "string", "jsonPath": ".a..b"}]));
        assert_eq!(cells(&missing, &object, Timestamp::from_seconds(5)), [json!("n"), json!(null)]);
    }
}
