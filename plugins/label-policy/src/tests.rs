use super::*;
use berth_sdk::admission::ask;

fn namespace(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}})
}

fn create(config: &Value, labels: Value) -> Verdict {
    ask::<LabelPolicy>(&config.to_string(), &Request::create("namespaces", namespace(labels)))
        .expect("configured")
}

#[test]
fn labels_are_required_and_forbidden() {
    let config = json!({"required": {"owner": [], "tier": ["gold", "silver"]}, "forbidden": ["legacy"]});
    assert!(create(&config, json!({"owner": "a", "tier": "gold"})).is_allowed());
    assert_eq!(
        create(&config, json!({"tier": "tin", "legacy": "1"})).message(),
        "the label owner is missing; the label tier is tin and must be one of gold, silver; \
         the label legacy is not allowed"
    );
}

#[test]
fn defaults_are_added_and_count() {
    let config = json!({"required": {"tier": ["gold"]}, "defaults": {"tier": "gold"}});
    let verdict = create(&config, json!({}));
    let patch = verdict.patch().expect("a change").to_json();
    assert_eq!(patch, br#"[{"op":"add","path":"/metadata/labels/tier","value":"gold"}]"#);
    assert!(create(&config, json!({"tier": "gold"})).patch().is_none());
    let bare = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let verdict =
        ask::<LabelPolicy>(&config.to_string(), &Request::create("namespaces", bare)).expect("configured");
    let patch = verdict.patch().expect("a change").to_json();
    assert_eq!(patch, br#"[{"op":"add","path":"/metadata/labels","value":{"tier":"gold"}}]"#);
}

#[test]
fn some_labels_stay_as_they_are() {
    let config = json!({"immutable": ["owner"], "exemptNamespaces": ["kube-system"]}).to_string();
    let update = |before, after| Request::update("namespaces", namespace(before), namespace(after));
    let said = |request| ask::<LabelPolicy>(&config, &request).expect("configured").message().to_owned();
    assert_eq!(said(update(json!({"owner": "a"}), json!({"owner": "a", "b": "c"}))), "");
    assert_eq!(said(update(json!({"owner": "a"}), json!({}))), "the label owner cannot change");
}
