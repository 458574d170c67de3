//! `NodeMetrics` and `PodMetrics`: what nodes and pods use now. Nothing of it is stored, and so there is nothing to watch.

use std::borrow::Cow;

use berth_json::Value;

use super::Names;
use super::view::str_at;
use crate::column::Column;
use crate::quantity::Quantity;
use crate::resource::{Kind, Resource, Scope};

const GROUP: &str = "metrics.k8s.io";

/// Of nodes and of pods.
pub(super) fn resources() -> [Resource; 2] {
    [measured("NodeMetrics", "nodes", Scope::Cluster), measured("PodMetrics", "pods", Scope::Namespaced)]
}

fn measured(kind: &'static str, plural: &'static str, scope: Scope) -> Resource {
    let names = Names { group: GROUP, version: "v1beta1", kind, plural, short: &[] };
    Resource {
        is_storage: false,
        singular: String::new(),
        verbs: vec!["get", "list"],
        ..super::resource(&names, scope, Metrics)
    }
}

struct Metrics;

impl Kind for Metrics {
    /// Those of metrics-server.
    fn columns(&self) -> Vec<Column> {
        let name = Column { description: "Name of the resource".to_owned(), ..Column::of_name() };
        let amount = |name: &'static str| {
            let cell = move |object: &Value, _| total(object, name).into();
            Column { format: Cow::Borrowed("quantity"), ..Column::new(name, "string", 0, "", cell) }
        };
        let window = Column { format: Cow::Borrowed("duration"), ..Column::text("Window", 0, "", "window") };
        vec![name, amount("cpu"), amount("memory"), window]
    }
}

/// What an object uses altogether: a node itself, a pod by its containers.
fn total(object: &Value, name: &str) -> String {
    let containers = object["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let parts = containers.iter().chain([object]).map(|part| str_at(&part["usage"], name));
    let known = parts.filter_map(|text| Quantity::parse(text).ok());
    known.reduce(Quantity::plus).map_or_else(|| "0".to_owned(), |sum| sum.to_string())
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::Metrics;
    use crate::resource::Kind;
    use crate::time::Timestamp;

    #[test]
    fn a_row_has_the_sum_of_a_pods_containers() {
        let usage = |cpu: &str, memory: &str| json!({"usage": {"cpu": cpu, "memory": memory}});
        let node = json!({
            "metadata": {"name": "x"}, "window": "15s", "usage": {"cpu": "1500u", "memory": "12Ki"},
        });
        let pod = json!({
            "metadata": {"name": "x"}, "window": "15s",
            "containers": [usage("1n", "1Ki"), usage("250m", "0"), usage("0", "1023Ki")],
        });
        for (object, cells) in
            [(node, ["x", "1500u", "12Ki", "15s"]), (pod, ["x", "250000001n", "1Mi", "15s"])]
        {
            let columns = Metrics.columns();
            let row: Vec<_> = columns.iter().map(|c| (c.cell)(&object, Timestamp::default())).collect();
            assert_eq!(row, cells);
        }
    }
}
