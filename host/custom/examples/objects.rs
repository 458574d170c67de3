//! What one object of a large kind takes: `cargo run -p berth-custom --example objects`.
#![allow(clippy::unwrap_used)] // a measurement may

use std::hint::black_box;
use std::time::Instant;

use berth_api::decode::{self, Expected, MediaType};
use berth_api::{Problems, Timestamp};
use berth_custom::{conditions, definitions, kinds_of};
use berth_json::{Value, json};

const ROUNDS: u32 = 2000;

fn main() {
    let resource = definitions();
    let text = include_str!("../tests/data/prometheuses.yaml");
    let started = Instant::now();
    let decoded =
        decode::decode(&resource.schema, Expected::of(&resource), MediaType::Yaml, text.as_bytes()).unwrap();
    println!("decoding the definition: {:?}", started.elapsed());
    let mut definition = decoded.value;
    let started = Instant::now();
    resource.behaviour.prune(&mut definition);
    resource.behaviour.prepare_create(&mut definition);
    resource.behaviour.validate(&definition, &mut Problems::default());
    println!("judging it: {:?}", started.elapsed());
    definition["status"] = conditions(&definition, [], Timestamp::from_seconds(0)).unwrap();
    let started = Instant::now();
    let kind = kinds_of(&definition).unwrap().remove(0);
    println!("compiling it: {:?}", started.elapsed());

    let container = |at: u32| {
        json!({
            "name": format!("c{at}"), "image": "i", "ports": [{"containerPort": 1, "name": "p"}],
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
        })
    };
    let object = json!({
        "apiVersion": "monitors.example.com/v1", "kind": "Prometheus", "metadata": {"name": "p", "namespace": "n"},
        "spec": {
            "replicas": 2, "retention": "15d", "retentionSize": "10GB", "enableFeatures": ["a", "b"],
            "containers": (0..20).map(container).collect::<Value>(),
            "remoteWrite": [{"url": "http://r", "writeRelabelConfigs": [{"sourceLabels": ["a"]}]}],
        },
    });
    println!("an object of {} bytes:", object.to_string().len());
    let measure = |name: &str, work: &dyn Fn()| {
        let started = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        println!("  {name}: {:?}", started.elapsed() / ROUNDS);
    };
    measure("copy", &|| drop(black_box(object.clone())));
    measure("copy, prune", &|| drop(black_box(kind.behaviour.prune(&mut object.clone()))));
    measure("copy, default", &|| kind.behaviour.default(&mut object.clone()));
    measure("create", &|| kind.behaviour.validate(&object, &mut Problems::default()));
    let mut changed = object.clone();
    changed["spec"]["containers"][7]["image"] = "j".into();
    measure("update", &|| kind.behaviour.validate_update(&changed, &object, &mut Problems::default()));
    measure("no change", &|| kind.behaviour.validate_update(&object, &object, &mut Problems::default()));
    measure("cells", &|| {
        drop(black_box(kind.cells(&kind.behaviour.columns(), &object, Timestamp::from_seconds(0))))
    });
}
