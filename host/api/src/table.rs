//! `meta.k8s.io` Table and PartialObjectMetadata: the answers kubectl and metadata clients ask for with `Accept`.

use berth_json::{Value, json};

use crate::column::Column;
use crate::resource::Resource;
use crate::time::Timestamp;

/// What a table's rows carry of their objects (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata; the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; empty means [`IncludeObject::Metadata`].
    ///
    /// # Errors
    /// The sentence of the API server's 400.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', \
                 'Object', 'None', or empty",
                Value::from(other)
            )),
        }
    }
}

/// Builds a Table of `objects`, whole objects with `apiVersion` and `kind`.
///
/// `version` is that of `meta.k8s.io`: `v1` or `v1beta1`; `list_metadata` is the `metadata` of the list (or
/// `{"resourceVersion": …}` of the single object).
pub fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    include: IncludeObject,
    version: &str,
    now: Timestamp,
) -> Value {
    let columns = resource.behaviour.columns();
    let row = |object: &Value| {
        let cells = resource.cells(&columns, object, now);
        let mut row = json!({ "cells": cells, "object": shown(object, include, version) });
        let conditions = resource.behaviour.row_conditions(object);
        if !conditions.is_empty() {
            row["conditions"] = conditions.into();
        }
        row
    };
    let rows = objects.into_iter().map(row).collect();
    assemble(&columns, rows, list_metadata, version)
}

/// Builds a Table of one `autoscaling/v1` Scale.
pub fn scale_table(
    scale: &Value,
    metadata: Value,
    include: IncludeObject,
    version: &str,
    now: Timestamp,
) -> Value {
    let columns = [
        Column::text("Name", 0, "Name of the object that is scaled.", "metadata.name"),
        Column::number("Desired", "integer", 0, "How many pods are wanted.", "spec.replicas"),
        Column::number("Available", "integer", 0, "How many pods there are.", "status.replicas"),
        Column::of_age(),
    ];
    let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(scale, now)).collect();
    let row = json!({ "cells": cells, "object": shown(scale, include, version) });
    assemble(&columns, vec![row], metadata, version)
}

fn shown(object: &Value, include: IncludeObject, version: &str) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_object_metadata(object, version),
        IncludeObject::Object => object.clone(),
    }
}

fn assemble(columns: &[Column], rows: Vec<Value>, metadata: Value, version: &str) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": rows,
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

/// The object as PartialObjectMetadata of `meta.k8s.io/<version>`: only its metadata.
pub fn partial_object_metadata(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A list as PartialObjectMetadataList of `meta.k8s.io/<version>`.
pub fn partial_object_metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    version: &str,
) -> Value {
    let items: Vec<Value> =
        objects.into_iter().map(|object| partial_object_metadata(object, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": list_metadata,
        "items": items,
    })
}

/// The age column: how long ago `timestamp` (RFC 3339) was, `<unknown>` when it is absent or no time.
pub fn age(timestamp: Option<&str>, now: Timestamp) -> String {
    let moment = timestamp.and_then(Timestamp::parse);
    moment.map_or_else(
        || "<unknown>".to_owned(),
        |moment| human_duration(now.millis_since(moment).div_euclid(1000)),
    )
}

/// A duration as kubectl shows it (`duration.HumanDuration`): `5s`, `3m10s`, `47h`, `2y3d`.
///
/// A clock that is a second behind counts as zero; one further behind shows `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let (minutes, hours, days, years) = (seconds / MINUTE, seconds / HOUR, seconds / DAY, seconds / YEAR);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % MINUTE, "s"),
        _ if minutes < 3 * 60 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 8 * 24 => two(days, "d", hours % 24, "h"),
        _ if hours < 2 * 365 * 24 => format!("{days}d"),
        _ if hours < 8 * 365 * 24 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// The larger unit, and the smaller one when there is any of it.
fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::{IncludeObject, age, human_duration, partial_object_metadata_list, scale_table, table};
    use crate::time::Timestamp;

    #[test]
    fn durations_as_kubectl_shows_them() {
        for (seconds, shown) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (8 * 3600, "8h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (49 * 3600, "2d1h"),
            (8 * 86_400, "8d"),
            (729 * 86_400, "729d"),
            (730 * 86_400, "2y"),
            (733 * 86_400, "2y3d"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(human_duration(seconds), shown, "{seconds}");
        }
        let now = Timestamp::from_seconds(1000);
        assert_eq!(age(Some("1970-01-01T00:16:30Z"), now), "10s");
        assert_eq!(age(None, now), "<unknown>");
        assert_eq!(age(Some("x"), now), "<unknown>");
    }

    #[test]
    fn a_row_says_that_its_pod_is_done() {
        let catalogue = crate::kinds::catalogue();
        let pods = catalogue.named("pods").unwrap();
        let now = Timestamp::from_seconds(0);
        let row = |phase: &str| {
            let pod = json!({"status": {"phase": phase}});
            table(pods, [&pod], json!({}), IncludeObject::None, "v1", now)["rows"][0].clone()
        };
        assert_eq!(row("Running").get("conditions"), None);
        assert_eq!(row("Failed")["conditions"][0]["reason"], "Failed");
    }

    #[test]
    fn a_scale_has_columns_of_its_own() {
        let scale = json!({"metadata": {"name": "w"}, "spec": {"replicas": 3}, "status": {"replicas": 2}});
        let table = scale_table(&scale, json!({}), IncludeObject::None, "v1", Timestamp::from_seconds(0));
        assert_eq!(table["rows"][0]["cells"], json!(["w", 3, 2, "<unknown>"]));
        assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn metadata_only() {
        let object = json!({"kind": "ConfigMap", "metadata": {"name": "m"}, "data": {}});
        assert_eq!(
            partial_object_metadata_list([&object], json!({"resourceVersion": "5"}), "v1"),
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": "5"},
                "items": [{
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "m"},
                }],
            })
        );
        assert_eq!(
            IncludeObject::parse("Bogus").unwrap_err(),
            "Unable to convert to Table as requested: includeObject: Invalid value: \"Bogus\": must be 'Metadata', \
             'Object', 'None', or empty"
        );
    }
}
