//! What definitions are told, case by case; what a real API server answered is replayed in `tests/golden.rs`.

use berth_api::Problems;
use berth_json::{Value, json};

use super::definitions;

fn definition() -> Value {
    json!({
        "metadata": {"name": "as.g.example"},
        "spec": {
            "group": "g.example", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

fn completed(mut definition: Value) -> Value {
    let resource = definitions();
    resource.behaviour.prepare_create(&mut definition);
    resource.behaviour.default(&mut definition);
    definition
}

fn told(problems: Problems) -> Vec<String> {
    problems.causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// What is wrong with the definition when the value at a path is another one.
fn with(path: &str, value: Value) -> Vec<String> {
    let mut changed = definition();
    let (parent, field) = path.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[field] = value;
    let mut problems = Problems::default();
    definitions().behaviour.validate(&completed(changed), &mut problems);
    told(problems)
}

/// What is wrong with the definition when its schema is another one; the schema's place is left out.
fn with_schema(schema: Value) -> Vec<String> {
    const PLACE: &str = "spec.validation.openAPIV3Schema";
    let told = with("/spec/versions/0/schema/openAPIV3Schema", schema);
    told.into_iter().map(|text| text.replacen(PLACE, "", 1)).collect()
}

#[test]
fn names_and_versions() {
    assert_eq!(with("/spec/scope", json!("Cluster")), Vec::<String>::new());
    for (path, value, wanted) in [
        (
            "/spec/group",
            json!("g"),
            "spec.group: Invalid value: \"g\": should be a domain with at least one dot",
        ),
        ("/spec/scope", json!(""), "spec.scope: Required value"),
        (
            "/spec/names/kind",
            json!("-"),
            "spec.names.kind: Invalid value: \"-\": may have mixed case, but should otherwise match: a DNS-1035",
        ),
        (
            "/spec/names/listKind",
            json!("A"),
            "spec.names.listKind: Invalid value: \"A\": kind and listKind may not be the same",
        ),
        (
            "/spec/names/shortNames",
            json!(["ok", "N"]),
            "spec.names.shortNames[1]: Invalid value: \"N\": a DNS-1035",
        ),
        ("/spec/versions/0/schema", json!(null), "spec.versions[0].schema.openAPIV3Schema: Required value"),
        ("/spec/versions/0/storage", json!(false), "spec.versions: Invalid value: "),
        (
            "/spec/versions/0/deprecationWarning",
            json!("x"),
            "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Odd"}),
            "spec.conversion.strategy: Unsupported value: \"Odd\": supported values: \"None\", \"Webhook\"",
        ),
    ] {
        let told = with(path, value);
        assert!(told.iter().any(|text| text.starts_with(wanted)), "{wanted}\n{told:#?}");
    }
}

#[test]
fn columns_and_scale() {
    let column = |name: &str, kind: &str, path: &str| json!([{"name": name, "type": kind, "jsonPath": path}]);
    for (columns, wanted) in [
        (column("", "string", ".a"), vec!["spec.additionalPrinterColumns[0].name: Required value"]),
        (
            column("A", "text", "a"),
            vec![
                "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of \
                 boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting \
                 with .",
            ],
        ),
        (column("A", "date", ".a"), vec![]),
    ] {
        assert_eq!(with("/spec/versions/0/additionalPrinterColumns", columns), wanted);
    }
    let scale = json!({"scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.n", "labelSelectorPath": ".b"}});
    assert_eq!(
        with("/spec/versions/0/subresources", scale),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec",
            "spec.subresources.scale.labelSelectorPath: Invalid value: \".b\": should be a json path under either .spec or \
             .status",
        ]
    );
}

#[test]
fn schemas_that_are_not_structural() {
    let field = |said: Value| json!({"type": "object", "properties": {"a": said}});
    for (schema, wanted) in [
        (json!({}), ".type: Required value: must not be empty at the root"),
        (
            field(json!({})),
            ".properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (field(json!({"type": "array"})), ".properties[a].items: Required value: must be specified"),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            ".additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            field(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            ".properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            field(json!({"type": "object", "not": {"properties": {"metadata": {}}}})),
            ".properties[a].not.properties[metadata]: Forbidden: must not be specified in a nested context",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "required": ["name"]}}}),
            ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata \
             is implicitly specified",
        ),
        (
            field(json!({"type": "string", "x-kubernetes-embedded-resource": true})),
            ".properties[a].type: Invalid value: \"string\": must be object if x-kubernetes-embedded-resource is true",
        ),
        (
            field(json!({"type": "string", "pattern": "("})),
            ".properties[a].pattern: Invalid value: \"(\": must be a valid",
        ),
        (
            field(json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
            ".properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true",
        ),
        (
            field(json!({"type": "object", "$ref": "#/x"})),
            ".properties[a].$ref: Forbidden: $ref is not supported",
        ),
        (
            field(
                json!({"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": false}),
            ),
            ".properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            field(json!({"type": "object", "x-kubernetes-list-type": "set"})),
            ".properties[a].type: Invalid value: \"object\": must be array if x-kubernetes-list-type is specified",
        ),
        (
            field(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "properties": {"k": {"type": "string"}}}}),
            ),
            ".properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys",
        ),
        (
            field(json!({"type": "object", "default": {"b": 1}})),
            ".properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields",
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "string", "default": "A"}}}),
            ".properties[kind].default: Forbidden: must not be set in top-level kind",
        ),
        (
            field(json!({"x-kubernetes-preserve-unknown-fields": false, "type": "object"})),
            ".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
    ] {
        let told = with_schema(schema.clone());
        assert!(told.iter().any(|text| text.starts_with(wanted)), "{schema} {wanted}\n{told:#?}");
    }
    let int_or_string =
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(with_schema(field(int_or_string)), Vec::<String>::new());
}

#[test]
fn what_a_root_may_say_beside_a_status_of_its_own() {
    let mut changed = definition();
    changed["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "minProperties": 1});
    let mut problems = Problems::default();
    definitions().behaviour.validate(&completed(changed), &mut problems);
    assert!(problems.text().contains("fields are allowed at the root of the schema"), "{}", problems.text());
}

#[test]
fn groups_of_the_project_are_approved() {
    let of = |annotations: Value| {
        let mut changed = definition();
        changed["metadata"] = json!({"name": "as.x.k8s.io", "annotations": annotations});
        changed["spec"]["group"] = "x.k8s.io".into();
        let mut problems = Problems::default();
        definitions().behaviour.validate(&completed(changed), &mut problems);
        told(problems).len()
    };
    assert_eq!(of(json!({})), 1);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "soon"})), 1);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "unapproved, a test"})), 0);
    assert_eq!(of(json!({"api-approved.kubernetes.io": "https://example.com/1"})), 0);
}

#[test]
fn of_kinds_with_a_webhook_the_stored_version_is_served() {
    let webhook = |client: Value, reviews: Value| {
        let mut changed = completed(definition());
        changed["spec"]["conversion"] = json!({
            "strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": reviews},
        });
        let mut second = changed["spec"]["versions"][0].clone();
        (second["name"], second["storage"]) = ("v2".into(), false.into());
        changed["spec"]["versions"].as_array_mut().unwrap().push(second);
        let mut problems = Problems::default();
        definitions().behaviour.validate(&changed, &mut problems);
        (changed, told(problems))
    };
    let (changed, problems) = webhook(json!({"url": "https://a"}), json!(["v1", "v2"]));
    assert_eq!(problems, Vec::<String>::new());
    let kinds = crate::kinds_of(&changed).unwrap();
    assert_eq!(kinds.iter().map(|kind| &*kind.version).collect::<Vec<_>>(), ["v1"]);
    assert!(definitions().behaviour.warnings(&changed)[0].contains("the stored version alone is served"));
    assert_eq!(
        webhook(json!({}), json!(["v2", "v2"])).1,
        [
            "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
            "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
            "spec.conversion.conversionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, \
             v1beta1",
        ]
    );
}

#[test]
fn what_may_change() {
    let old = completed(definition());
    let told_of = |path: &str, value: Value, old: &Value| {
        let mut new = old.clone();
        *new.pointer_mut(path).unwrap() = value;
        let mut problems = Problems::default();
        definitions().behaviour.prepare_update(&mut new, old);
        definitions().behaviour.validate_update(&new, old, &mut problems);
        told(problems)
    };
    assert_eq!(told_of("/spec/scope", json!("Cluster"), &old), Vec::<String>::new());
    assert_eq!(
        told_of("/spec/group", json!("h.example"), &old),
        ["spec.group: Invalid value: \"h.example\": field is immutable"]
    );
    let mut established = old;
    established["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    assert_eq!(
        told_of("/spec/scope", json!("Cluster"), &established),
        ["spec.scope: Invalid value: \"Cluster\": field is immutable"]
    );
}
