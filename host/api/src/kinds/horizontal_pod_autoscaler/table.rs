//! `kubectl get horizontalpodautoscalers`.

use berth_json::Value;

use super::SOURCES;
use crate::column::Column;
use crate::kinds::view::{at, int_at, list_at, str_at};

/// How many metrics the column shows; how many more there are is said.
const METRICS_SHOWN: usize = 2;

const UNKNOWN: &str = "<unknown>";

pub(super) fn columns() -> Vec<Column> {
    let targets = |object: &Value, _| targets(object).into();
    vec![
        Column::of_name(),
        Column::new("Reference", "string", 0, "What is scaled.", |object, _| {
            let target = |field: &str| str_at(object, &format!("spec.scaleTargetRef.{field}"));
            format!("{}/{}", target("kind"), target("name")).into()
        }),
        Column::new("Targets", "string", 0, "What the metrics are, and what they shall be.", targets),
        Column::new("MinPods", "string", 0, "How many pods there are at least.", |object, _| {
            let least = int_at(object, "spec.minReplicas");
            least.map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into()
        }),
        Column::number("MaxPods", "string", 0, "How many pods there are at most.", "spec.maxReplicas"),
        Column::number("Replicas", "string", 0, "How many pods there are.", "status.currentReplicas"),
        Column::of_age(),
    ]
}

/// What the metrics are now, of which the status has one for each of the spec, and what they shall be.
fn targets(object: &Value) -> String {
    let (metrics, current) = (list_at(object, "spec.metrics"), list_at(object, "status.currentMetrics"));
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> = (metrics.iter().take(METRICS_SHOWN).enumerate())
        .map(|(index, metric)| target(metric, current.get(index).unwrap_or(&Value::Null)))
        .collect();
    match metrics.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn target(metric: &Value, status: &Value) -> String {
    let kind = str_at(metric, "type");
    let Some((field, _)) = SOURCES.iter().find(|(_, name)| *name == kind) else {
        return "<unknown type>".to_owned();
    };
    let path = |part: &str| format!("{field}.{part}");
    let now = |part: &str| str_at(status, &path(&format!("current.{part}"))).to_owned();
    let known = |text: String| if text.is_empty() { UNKNOWN.to_owned() } else { text };
    let wanted = |part: &str| str_at(metric, &path(&format!("target.{part}")));
    let (value, average) = (wanted("value"), wanted("averageValue"));
    match *field {
        "object" | "external" if average.is_empty() => format!("{}/{value}", known(now("value"))),
        "object" | "external" => format!("{}/{average} (avg)", known(now("averageValue"))),
        "pods" => format!("{}/{average}", known(now("averageValue"))),
        _ => {
            let resource = str_at(metric, &path("name"));
            if !average.is_empty() {
                return format!("{resource}: {}/{average}", known(now("averageValue")));
            }
            let percent = |of: &Value, part: &str| {
                at(of, &path(part)).and_then(Value::as_i64).map(|percent| format!("{percent}%"))
            };
            let now = percent(status, "current.averageUtilization").unwrap_or_else(|| UNKNOWN.to_owned());
            let wanted = percent(metric, "target.averageUtilization").unwrap_or_else(|| "<auto>".to_owned());
            format!("{resource}: {now}/{wanted}")
        }
    }
}
