//! Metrics in the form that they have in the annotations of `autoscaling/v1`: flat, under names of their own.

use berth_json::{Map, Value};

use super::annotations::JsonObject;
use crate::kinds::view::{at, str_at};
use crate::quantity::Quantity;

/// A metric as the spec has it, or as the status has it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Spec,
    Status,
}

/// One source of metrics, with its fields in the order in which the API server writes them.
struct Source {
    name: &'static str,
    spec: &'static [Field],
    status: &'static [Field],
}

struct Field {
    /// Its name in the annotation.
    flat: &'static str,
    /// Where it stands in a source of `v2`.
    path: &'static str,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// A quantity that is always there.
    Amount,
    /// An object with these fields, in their order.
    Object(&'static [&'static str]),
}

const REFERENCE: Form = Form::Object(&["kind", "name", "apiVersion"]);
const SELECTOR: Form = Form::Object(&["matchLabels", "matchExpressions"]);

const fn field(flat: &'static str, path: &'static str, form: Form) -> Field {
    Field { flat, path, form }
}

const SOURCES: [Source; 5] = [
    Source {
        name: "object",
        spec: &[
            field("target", "describedObject", REFERENCE),
            field("metricName", "metric.name", Form::Plain),
            field("targetValue", "target.value", Form::Amount),
            field("selector", "metric.selector", SELECTOR),
            field("averageValue", "target.averageValue", Form::Plain),
        ],
        status: &[
            field("target", "describedObject", REFERENCE),
            field("metricName", "metric.name", Form::Plain),
            field("currentValue", "current.value", Form::Amount),
            field("selector", "metric.selector", SELECTOR),
            field("averageValue", "current.averageValue", Form::Plain),
        ],
    },
    Source {
        name: "pods",
        spec: &[
            field("metricName", "metric.name", Form::Plain),
            field("targetAverageValue", "target.averageValue", Form::Amount),
            field("selector", "metric.selector", SELECTOR),
        ],
        status: &[
            field("metricName", "metric.name", Form::Plain),
            field("currentAverageValue", "current.averageValue", Form::Amount),
            field("selector", "metric.selector", SELECTOR),
        ],
    },
    Source {
        name: "resource",
        spec: &[
            field("name", "name", Form::Plain),
            field("targetAverageUtilization", "target.averageUtilization", Form::Plain),
            field("targetAverageValue", "target.averageValue", Form::Plain),
        ],
        status: &[
            field("name", "name", Form::Plain),
            field("currentAverageUtilization", "current.averageUtilization", Form::Plain),
            field("currentAverageValue", "current.averageValue", Form::Amount),
        ],
    },
    Source {
        name: "containerResource",
        spec: &[
            field("name", "name", Form::Plain),
            field("targetAverageUtilization", "target.averageUtilization", Form::Plain),
            field("targetAverageValue", "target.averageValue", Form::Plain),
            field("container", "container", Form::Plain),
        ],
        status: &[
            field("name", "name", Form::Plain),
            field("currentAverageUtilization", "current.averageUtilization", Form::Plain),
            field("currentAverageValue", "current.averageValue", Form::Amount),
            field("container", "container", Form::Plain),
        ],
    },
    Source {
        name: "external",
        spec: &[
            field("metricName", "metric.name", Form::Plain),
            field("metricSelector", "metric.selector", SELECTOR),
            field("targetValue", "target.value", Form::Plain),
            field("targetAverageValue", "target.averageValue", Form::Plain),
        ],
        status: &[
            field("metricName", "metric.name", Form::Plain),
            field("metricSelector", "metric.selector", SELECTOR),
            field("currentValue", "current.value", Form::Amount),
            field("currentAverageValue", "current.averageValue", Form::Plain),
        ],
    },
];

impl Source {
    fn fields(&self, side: Side) -> &'static [Field] {
        match side {
            Side::Spec => self.spec,
            Side::Status => self.status,
        }
    }
}

/// The annotation that stands for `metrics`.
pub(super) fn write<'m>(metrics: impl Iterator<Item = &'m Value>, side: Side) -> String {
    let texts: Vec<String> = metrics.map(|metric| text(metric, side)).collect();
    format!("[{}]", texts.join(","))
}

fn text(metric: &Value, side: Side) -> String {
    let mut text = JsonObject::default();
    text.field("type", &metric["type"].to_string());
    for source in &SOURCES {
        let Some(there) = metric.get(source.name).filter(|there| there.is_object()) else { continue };
        let mut inner = JsonObject::default();
        for field in source.fields(side) {
            match (at(there, field.path), field.form) {
                (Some(value), Form::Object(order)) => inner.field(field.flat, &JsonObject::of(value, order)),
                (Some(value), _) => inner.field(field.flat, &value.to_string()),
                (None, Form::Amount) => inner.field(field.flat, "\"0\""),
                (None, _) => {}
            }
        }
        text.field(source.name, &inner.end());
    }
    text.end()
}

/// What the list in an annotation stands for; `None` when it is no list of objects.
pub(super) fn read(list: &Value, side: Side) -> Option<Value> {
    let metrics = list.as_array()?.iter().map(|metric| Some(metric_of(metric.as_object()?, side)));
    metrics.collect::<Option<Vec<Value>>>().map(Value::from)
}

fn metric_of(flat: &Map, side: Side) -> Value {
    let mut metric = Map::new();
    metric.insert("type", flat.get("type").cloned().unwrap_or_default());
    for source in &SOURCES {
        let Some(there) = flat.get(source.name).filter(|there| there.is_object()) else { continue };
        let mut inner = Value::Object(Map::new());
        for field in source.fields(side) {
            let Some(value) = there.get(field.flat) else { continue };
            match field.path.split_once('.') {
                Some((outer, name)) => inner[outer][name] = value.clone(),
                None => inner[field.path] = value.clone(),
            }
        }
        if side == Side::Spec {
            name_target(&mut inner["target"]);
        }
        metric.insert(source.name, inner);
    }
    metric.into()
}

/// The flat form does not say of what type a target is: that follows from what is there. A value of zero beside an
/// average was never set.
fn name_target(target: &mut Value) {
    let has = |field: &str| at(target, field).is_some();
    let is_average = has("averageValue");
    let is_zero = Quantity::parse(str_at(target, "value")).is_ok_and(Quantity::is_zero);
    let kind = match (has("averageUtilization"), is_average, has("value")) {
        (true, ..) => "Utilization",
        (false, false, true) => "Value",
        _ => "AverageValue",
    };
    target["type"] = kind.into();
    if is_average
        && is_zero
        && let Some(fields) = target.as_object_mut()
    {
        fields.remove("value");
    }
}
