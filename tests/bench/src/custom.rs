//! Custom objects whose kind has rules.

use std::time::{Duration, Instant};

use anyhow::bail;
use berth_client::{ApiResource, HttpVersions, HttpsTransport};
use serde_json::{Value, json};

use crate::Options;
use crate::cluster::{Agent, Cluster};
use crate::stats::ms;
use crate::table::{Row, Table};
use crate::writes::{config_map, create, many};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GAUGES: &str = "/apis/bench.example.com/v1/namespaces/default/gauges";
/// For the kind to be served after its definition was made.
const SERVED_DEADLINE: Duration = Duration::from_secs(10);

/// Creates of objects with ten rules, beside creates of ConfigMaps of the same size.
pub(crate) async fn creates(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::start(options, Agent::None).await?;
    let versions = HttpVersions::Http1;
    let transport = HttpsTransport::with_versions(&cluster.config()?, versions)?;
    create(&transport, DEFINITIONS, &definition()).await?;
    let begun = Instant::now();
    while let Err(error) = create(&transport, GAUGES, &gauge(usize::MAX)).await {
        if begun.elapsed() > SERVED_DEADLINE {
            bail!("the kind is not served: {error}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (custom, samples) = many(&cluster, versions, GAUGES, gauge).await?;
    let path = ApiResource::CONFIG_MAPS.path("default");
    let (maps, of_maps) = many(&cluster, versions, &path, config_map).await?;
    let row = Row::new(
        "custom object creates/s, ten CEL rules, 1 KiB, 8 clients".to_owned(),
        format!("{custom:.0}/s (p50 {})", ms(samples.p50())),
        "2 × ConfigMap",
    );
    table.add(row.beside(format!("ConfigMap {maps:.0}/s (p50 {})", ms(of_maps.p50())), maps / custom));
    Ok(())
}

fn gauge(number: usize) -> Value {
    json!({
        "apiVersion": "bench.example.com/v1", "kind": "Gauge", "metadata": {"name": format!("bench-{number:05}")},
        "spec": {
            "min": 1, "max": 9, "value": 5, "unit": "bar", "names": ["g-a", "g-b", "g-c"], "size": "10Mi",
            "note": "x".repeat(1_000),
        },
    })
}

fn definition() -> Value {
    let rules = [
        "self.min <= self.max",
        "self.value >= self.min && self.value <= self.max",
        "self.unit in ['bar', 'pascal', 'psi']",
        "self.names.all(name, name.startsWith('g-'))",
        "self.names.exists(name, name == 'g-a')",
        "size(self.names) <= 9",
        "quantity(self.size).compareTo(quantity('1Gi')) <= 0",
        "self.note.size() < 2000",
        "!has(self.other) || self.other == 'x'",
        "self.unit.matches('^[a-z]+$')",
    ];
    let rules: Vec<Value> = rules.iter().map(|rule| json!({ "rule": rule })).collect();
    let text = |length: u32| json!({"type": "string", "maxLength": length});
    let spec = json!({
        "type": "object",
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "value": {"type": "integer"},
            "unit": text(20), "size": text(20), "note": text(4000), "other": text(20),
            "names": {"type": "array", "maxItems": 20, "items": text(40)},
        },
        "x-kubernetes-validations": rules,
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gauges.bench.example.com"},
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced", "names": {"plural": "gauges", "kind": "Gauge"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}
