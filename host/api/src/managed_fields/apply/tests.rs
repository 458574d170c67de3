//! Cases as a real API server answers them.

use berth_json::{Value, json};

use super::super::{Writer, record_update};
use super::{Applier, apply};
use crate::decode::complete;
use crate::schema::Schema;
use crate::status::Status;
use crate::time::Timestamp;

const DEPLOYMENT: &str = "apps.v1.Deployment";
const MAP: &str = "core.v1.ConfigMap";

/// An object in the hands of several managers, time passing with every write.
struct World {
    schema: Schema,
    kind: &'static str,
    object: Option<Value>,
    second: i64,
}

impl World {
    fn of(kind: &'static str) -> Self {
        Self { schema: Schema::clone(Schema::builtin()), kind, object: None, second: 0 }
    }

    fn writer<'a>(&mut self, manager: &'a str) -> Writer<'a> {
        self.second += 1;
        Writer { manager, api_version: "v1", subresource: "", now: Timestamp::from_seconds(self.second) }
    }

    fn apply_as(&mut self, applier: Applier<'_>, config: Value) -> Result<bool, Status> {
        let applied = apply(&self.schema, self.kind, self.object.as_ref(), &config, applier)?;
        let mut object = applied.object;
        complete(&self.schema, self.kind, &mut object);
        let is_changed = applied.managers.is_changed;
        if let Some(managers) = applied.managers.encode() {
            managers.put_into(&mut object);
        }
        self.object = Some(object);
        Ok(is_changed)
    }

    /// Applies; says whether who owns what changed.
    fn apply(&mut self, manager: &str, config: Value) -> Result<bool, Status> {
        let writer = self.writer(manager);
        self.apply_as(Applier { writer, force: false, ignored: &[&["status"]] }, config)
    }

    fn force(&mut self, manager: &str, config: Value) {
        let writer = self.writer(manager);
        self.apply_as(Applier { writer, force: true, ignored: &[&["status"]] }, config).unwrap();
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        let old = self.object.clone().unwrap();
        let mut new = old.clone();
        change(&mut new);
        complete(&self.schema, self.kind, &mut new);
        let writer = self.writer(manager);
        if let Some(managers) = record_update(&self.schema, self.kind, &mut new, Some(&old), writer) {
            managers.put_into(&mut new);
        }
        self.object = Some(new);
    }

    fn object(&self) -> &Value {
        self.object.as_ref().unwrap()
    }

    /// Managers with their fields, in the order of the list.
    fn managers(&self) -> Value {
        let list = self.object()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        list.iter().map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]])).collect()
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

#[test]
fn a_map_is_shared_entry_by_entry() {
    let mut world = World::of(MAP);
    assert_eq!(world.apply("a", map(json!({"a": "1", "b": "2"}))), Ok(true));
    assert_eq!(world.apply("a", map(json!({"a": "1", "b": "2"}))), Ok(false));
    assert_eq!(world.object()["metadata"]["managedFields"][0]["time"], "1970-01-01T00:00:01Z");
    assert_eq!(world.apply("a", map(json!({"a": "1"}))), Ok(true));
    assert_eq!(world.object()["data"], json!({"a": "1"}));
    assert_eq!(world.apply("b", map(json!({"a": "1", "c": "3"}))), Ok(true));
    let refused = world.apply("a", map(json!({"a": "3"}))).unwrap_err();
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"b\": .data.a");
    world.force("a", map(json!({"a": "3"})));
    assert_eq!(world.object()["data"], json!({"a": "3", "c": "3"}));
    assert_eq!(world.apply("b", map(json!({}))), Ok(true));
    assert_eq!(world.object()["data"], json!({"a": "3"}));
    assert_eq!(
        world.managers(),
        json!([["a", "Apply", {"f:data": {"f:a": {}}}], ["b", "Apply", {"f:data": {}}]])
    );
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut world = World::of(MAP);
    world.apply("a", map(json!({"a": "1"}))).unwrap();
    world.update("u", |object| object["data"] = json!({"a": "2", "u": "3"}));
    assert_eq!(world.managers(), json!([["u", "Update", {"f:data": {"f:a": {}, "f:u": {}}}]]));
    let refused = world.apply("a", map(json!({"a": "1", "u": "1"}))).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 2 conflicts: conflicts with \"u\" using v1:\n- .data.a\n- .data.u"
    );
    let causes = &refused.details.unwrap().causes;
    assert_eq!(
        (causes[1].reason, &*causes[1].message, &*causes[1].field),
        ("FieldManagerConflict", "conflict with \"u\" using v1", ".data.u")
    );
    assert_eq!(world.apply("a", map(json!({"a": "2"}))), Ok(true));
}

fn deployment(containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"},
        "spec": {"template": {"spec": {"containers": containers}}},
    })
}

fn containers(world: &World) -> Vec<String> {
    let list = world.object()["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    list.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lists_are_shared_element_by_element() {
    let mut world = World::of(DEPLOYMENT);
    world.apply("a", deployment(json!([{"name": "c", "image": "i"}, {"name": "d"}]))).unwrap();
    world.apply("b", deployment(json!([{"name": "e"}, {"name": "c", "args": ["x"]}]))).unwrap();
    assert_eq!(containers(&world), ["e", "c", "d"]);
    world.apply("a", deployment(json!([{"name": "d"}, {"name": "c"}]))).unwrap();
    assert_eq!(containers(&world), ["e", "d", "c"]);
    let container = world.object()["spec"]["template"]["spec"]["containers"][2].clone();
    assert_eq!((container.get("image"), &container["args"]), (None, &json!(["x"])));
    world.apply("a", deployment(json!([{"name": "d"}]))).unwrap();
    assert_eq!(containers(&world), ["e", "d", "c"]);
    world.apply("b", deployment(json!([]))).unwrap();
    assert_eq!(containers(&world), ["d"]);
    let refused = world.apply("c", deployment(json!([{"name": "x"}, {"name": "x"}]))).unwrap_err();
    assert_eq!(
        (refused.code, &*refused.message),
        (
            400,
            "failed to create typed patch object (/w; apps/v1, Kind=Deployment): \
               .spec.template.spec.containers: duplicate entries for key [name=\"x\"]"
        )
    );
}

#[test]
fn what_others_added_to_an_element_goes_with_it_and_in_a_struct_it_stays() {
    let mut world = World::of(DEPLOYMENT);
    let mut config = deployment(json!([{"name": "c", "image": "i"}, {"name": "d"}]));
    config["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    world.apply("a", config).unwrap();
    world.update("u", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
        object["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 1});
    });
    world.apply("a", deployment(json!([{"name": "d"}]))).unwrap();
    assert_eq!(containers(&world), ["d"]);
    assert_eq!(world.object()["spec"]["strategy"], json!({"rollingUpdate": {"maxSurge": 1}}));
}

#[test]
fn what_was_there_before_anything_was_applied_is_somebodys() {
    let mut world = World::of(MAP);
    world.object = Some(map(json!({"only": "1"})));
    let refused = world.apply("a", map(json!({"only": "2"}))).unwrap_err();
    assert!(refused.message.contains("\"before-first-apply\" using v1: .data.only"), "{refused}");
    world.apply("a", map(json!({"a": "1"}))).unwrap();
    assert_eq!(
        world.managers(),
        json!([
            ["a", "Apply", {"f:data": {"f:a": {}}}],
            ["before-first-apply", "Update", {"f:data": {".": {}, "f:only": {}}}],
        ])
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_from_its_own_side() {
    let applied = |data: Value| {
        let mut config = map(data);
        let text = format!("{config}\n");
        config["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
        config
    };
    let mut world = World::of(MAP);
    world.object = Some(applied(json!({"a": "1", "b": "2"})));
    world.update("x", |object| object["data"]["c"] = "3".into());
    // Nothing was tracked yet, so that all is of before; what differs from the annotation is not kubectl's.
    assert!(world.apply("helm", map(json!({"a": "9"}))).is_err());
    let refused = world.apply("kubectl", map(json!({"a": "9", "c": "9"}))).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.c"
    );
    world.apply("kubectl", map(json!({"a": "9"}))).unwrap();
    assert_eq!(world.object()["data"], json!({"a": "9", "b": "2", "c": "3"}));
    let annotation =
        &world.object()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert_eq!(annotation.as_str().unwrap(), format!("{}\n", map(json!({"a": "9"}))));
}

#[test]
fn configurations_that_fit_no_type() {
    let mut world = World::of(DEPLOYMENT);
    for (config, why) in [
        (
            json!([{"name": "c", "bogus": 1}]),
            ".spec.template.spec.containers[name=\"c\"].bogus: field not declared in schema",
        ),
        (
            json!([{"name": "c", "image": 5}]),
            ".spec.template.spec.containers[name=\"c\"].image: expected string, got 5",
        ),
        (json!({}), ".spec.template.spec.containers: expected list, got a map"),
        (
            json!([1]),
            ".spec.template.spec.containers: element 0: associative list with keys may not have non-map elements",
        ),
    ] {
        let refused = world.apply("a", deployment(config)).unwrap_err();
        assert!(refused.message.ends_with(&format!("Kind=Deployment): {why}")), "{refused}");
    }
    let long = "x".repeat(5000);
    let refused = world.apply("a", deployment(json!([{"name": long, "bogus": 1}]))).unwrap_err();
    assert!(refused.message.len() < 1200 && refused.message.ends_with("…: field not declared in schema"));
    let mut own = map(json!({}));
    own["metadata"]["managedFields"] = json!([]);
    assert_eq!(World::of(MAP).apply("a", own).unwrap_err().message, "metadata.managedFields must be nil");
}

#[test]
fn where_the_schema_is_silent_the_value_decides() {
    let mut world = World::of("x.v1.A");
    let rows = r#"{"name":"x.v1.A","kinds":["x.dev/v1/A"],"open":true,"fields":[{"name":"free","type":"deduced"},
        {"name":"metadata","type":"meta.v1.ObjectMeta","proto":1,"wire":"bytes"}]}"#;
    world.schema.extend(&rows.replace('\n', " ")).unwrap();
    let config = |free: Value| json!({"metadata": {"name": "x"}, "free": free, "other": {"a": 1}});
    world.apply("h", config(json!({"any": {"thing": [1, {"a": 2}]}, "n": 1}))).unwrap();
    assert_eq!(
        world.managers(),
        json!([["h", "Apply", {
            "f:free": {"f:any": {".": {}, "f:thing": {}}, "f:n": {}},
            "f:other": {".": {}, "f:a": {}},
        }]])
    );
    let refused = world.apply("i", config(json!({"any": {"thing": [2]}, "m": null}))).unwrap_err();
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"h\": .free.any.thing");
    world.force("i", config(json!("text")));
    assert_eq!(world.object()["free"], "text");
}
