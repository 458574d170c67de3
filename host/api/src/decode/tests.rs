//! Cases as a real API server answers them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_json::{Value, json};
use proptest::prelude::*;

use super::{Decoded, Expected, FieldValidation, Finding, MediaType, check, complete, decode};
use crate::schema::Schema;

fn expected(api_version: &'static str, kind: &'static str) -> Expected<'static> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let schema_type = &Schema::builtin().of_kind(api_version, kind).unwrap().name;
    Expected { group, version, kind, schema_type }
}

fn config_map() -> Expected<'static> {
    expected("v1", "ConfigMap")
}

fn read(expected: Expected<'_>, media: MediaType, body: &[u8]) -> Result<Decoded, String> {
    decode(Schema::builtin(), expected, media, body).map_err(|status| {
        assert_eq!(status.code, 400);
        status.message
    })
}

fn refusal(expected: Expected<'_>, body: &str) -> String {
    read(expected, MediaType::Json, body.as_bytes()).unwrap_err()
}

fn warnings(body: &str) -> Vec<String> {
    let decoded = read(config_map(), MediaType::Json, body.as_bytes()).unwrap();
    decoded.enforce(FieldValidation::Warn).unwrap().1
}

#[test]
fn unknown_and_duplicate_fields() {
    for (body, expected) in [
        (r#"{"dat":{"a":"1"},"metadate":{}}"#, vec!["unknown field \"dat\"", "unknown field \"metadate\""]),
        (r#"{"data":{"a":"1"},"data":{"b":"2"}}"#, vec!["duplicate field \"data\""]),
        (r#"{"metadata":{"name":"m","label":{}}}"#, vec!["unknown field \"metadata.label\""]),
        (r#"{"data":{"a":"1","a":"2"}}"#, vec!["duplicate field \"data.a\""]),
        (r#"{"METADATA":{}}"#, vec!["unknown field \"METADATA\""]),
        (r#"{"x":{"a":1,"a":2}}"#, vec!["unknown field \"x\""]),
        (
            r#"{"metadata":{"ownerReferences":[{"x":1},{"uid":"u","uid":"u"}]}}"#,
            vec![
                "unknown field \"metadata.ownerReferences[0].x\"",
                "duplicate field \"metadata.ownerReferences[1].uid\"",
            ],
        ),
        (r#"{"kind":"ConfigMap","kind":"ConfigMap"}"#, vec!["duplicate field \"kind\""]),
    ] {
        assert_eq!(warnings(body), expected, "{body}");
    }
    let both = read(config_map(), MediaType::Json, br#"{"data":{"a":"1"},"data":{"b":"2"}}"#).unwrap();
    assert_eq!(both.value["data"], json!({"a": "1", "b": "2"}));
}

#[test]
fn strict_is_one_sentence() {
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\n  name: mm\nextra: 1\n";
    let decoded = read(config_map(), MediaType::Yaml, body.as_bytes()).unwrap();
    assert_eq!(decoded.value["metadata"]["name"], "mm");
    let (_, warnings) = decoded.clone().enforce(FieldValidation::Warn).unwrap();
    assert_eq!(warnings, ["line 5: key \"name\" already set in map", "unknown field \"extra\""]);
    assert_eq!(
        decoded.enforce(FieldValidation::Strict).unwrap_err(),
        "strict decoding error: yaml: unmarshal errors:\n  line 5: key \"name\" already set in map, \
         unknown field \"extra\""
    );
}

#[test]
fn wrong_types() {
    for (expected, body, why) in [
        (
            expected("apps/v1", "Deployment"),
            r#"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            expected("apps/v1", "Deployment"),
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            expected("apps/v1", "Deployment"),
            r#"{"spec":[]}"#,
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            config_map(),
            r#"{"data":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            config_map(),
            r#"{"data":"x"}"#,
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            expected("v1", "Pod"),
            r#"{"spec":{"containers":{}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            expected("v1", "Pod"),
            r#"{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}"#,
            "json: cannot unmarshal string into Go struct field \
             ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            expected("v1", "Service"),
            r#"{"spec":{"ports":[{"port":80,"targetPort":true}]}}"#,
            "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (expected("v1", "Secret"), r#"{"data":{"a":"not base64!"}}"#, "illegal base64 data at input byte 3"),
        (
            expected("coordination.k8s.io/v1", "Lease"),
            r#"{"spec":{"leaseDurationSeconds":3000000000}}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field \
             LeaseSpec.spec.leaseDurationSeconds of type int32",
        ),
        (
            expected("v1", "Pod"),
            r#"{"metadata":{"creationTimestamp":"now"}}"#,
            "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"",
        ),
        (
            expected("v1", "Pod"),
            r#"{"metadata":{"creationTimestamp":"2026-13-01T00:00:00Z"}}"#,
            "parsing time \"2026-13-01T00:00:00Z\": month out of range",
        ),
        (
            expected("coordination.k8s.io/v1", "Lease"),
            r#"{"spec":{"renewTime":"2026-01-01T00:00:00Z"}}"#,
            "parsing time \"2026-01-01T00:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": \
             cannot parse \"Z\" as \".000000\"",
        ),
        (
            expected("v1", "Pod"),
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}"#,
            "quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        let (kind, version) = (expected.kind, expected.version);
        let sentence = format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}");
        assert_eq!(refusal(expected, body), sentence, "{body}");
    }
}

#[test]
fn other_kinds() {
    for (body, sentence) in [
        (
            r#"{"apiVersion":"v1","kind":"Secret"}"#,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: \
             converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            r#"{"apiVersion":"v2","kind":"ConfigMap"}"#,
            "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: \
             no kind \"ConfigMap\" is registered for version \"v2\"",
        ),
        (
            r#"{"apiVersion":"apps/v1","kind":"ConfigMap","data":5}"#,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: \
             no kind \"ConfigMap\" is registered for version \"apps/v1\"",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","Kind":"x"}"#,
            "x in version \"v1\" cannot be handled as a ConfigMap: no kind \"x\" is registered for version \"v1\"",
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMapList","items":[]}"#,
            "ConfigMapList in version \"v1\" cannot be handled as a ConfigMap: \
             converting (v1.ConfigMapList) to (core.ConfigMap): unknown conversion",
        ),
    ] {
        assert_eq!(refusal(config_map(), body), sentence, "{body}");
    }
    for body in [r#"{"kind":"ConfigMap"}"#, r#"{"apiVersion":"v1"}"#, "{}", "null"] {
        let decoded = read(config_map(), MediaType::Json, body.as_bytes()).unwrap();
        assert_eq!(decoded.value, json!({"apiVersion": "v1", "kind": "ConfigMap"}), "{body}");
    }
    let options = decode(
        Schema::builtin(),
        Expected::DELETE_OPTIONS,
        MediaType::Json,
        br#"{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0,"propagationPolicy":"Orphan"}"#,
    );
    assert_eq!(options.unwrap().value["gracePeriodSeconds"], 0);
}

#[test]
fn broken_bodies() {
    const META: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    for (media, body, why) in [
        (MediaType::Json, "", "json parse error: unexpected end of JSON input (<empty>)".to_owned()),
        (MediaType::Json, " ", "json parse error: unexpected end of JSON input (20)".to_owned()),
        (
            MediaType::Json,
            "[]",
            format!("json parse error: json: cannot unmarshal array into Go value of type {META} (5b5d)"),
        ),
        (
            MediaType::Json,
            "\"x\"",
            format!("json parse error: json: cannot unmarshal string into Go value of type {META} (227822)"),
        ),
        (
            MediaType::Json,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m",}}"#,
            "json parse error: invalid character '}' looking for beginning of object key string \
             ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)"
                .to_owned(),
        ),
        (
            MediaType::Json,
            r#"{"apiVersion":"v1","kind":"ConfigMap","data":5} x"#,
            "json parse error: invalid character 'x' after top-level value ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)"
                .to_owned(),
        ),
    ] {
        let sentence =
            format!("the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; {why}");
        assert_eq!(read(config_map(), media, body.as_bytes()).unwrap_err(), sentence, "{body}");
    }
    let yaml = read(config_map(), MediaType::Yaml, b"a: [b").unwrap_err();
    assert!(yaml.ends_with("yaml: line 1: did not find expected ',' or ']' (613a205b62)"), "{yaml}");
    let proto = read(config_map(), MediaType::Protobuf, b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}")
        .unwrap_err();
    assert!(
        proto.contains("expected prefix [107 56 115 0] ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)"),
        "{proto}"
    );
    for (body, why) in [(&b""[..], "empty data (<empty>)"), (b"k8s\0", "empty body (6b387300)")] {
        assert!(read(config_map(), MediaType::Protobuf, body).unwrap_err().ends_with(why));
    }
    let deep = format!("{{\"x\":{}", "[".repeat(12_000));
    assert!(refusal(config_map(), &deep).contains("invalid character '[' exceeded max depth"));
    let boolean = read(config_map(), MediaType::Yaml, b"metadata:\n  name: n\n").unwrap_err();
    assert!(boolean.ends_with(
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string"
    ));
}

#[test]
fn values_are_canonical() {
    let body = json!({
        "metadata": {"name": "p", "creationTimestamp": null, "labels": {}, "finalizers": []},
        "spec": {
            "hostNetwork": false, "nodeName": "", "terminationGracePeriodSeconds": 0, "securityContext": {},
            "containers": [{
                "name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "args": [],
                "readinessProbe": {"httpGet": {"port": "web"}}, "env": [null],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        "status": {"startTime": "2026-11-21T12:45:13.5+02:00"},
    });
    let decoded = check(Schema::builtin(), expected("v1", "Pod"), body).unwrap();
    assert_eq!(decoded.findings, []);
    assert_eq!(
        decoded.value,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {
                "terminationGracePeriodSeconds": 0, "securityContext": {},
                "containers": [{
                    "name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    "readinessProbe": {"httpGet": {"port": "web"}}, "env": [{}],
                }],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
            "status": {"startTime": "2026-11-21T10:45:13Z"},
        })
    );
}

#[test]
fn completed_as_go_prints_it() {
    let mut event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "count": 0});
    complete(Schema::builtin(), "core.v1.Event", &mut event);
    assert_eq!(
        event,
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {}, "source": {},
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": "",
        })
    );
    let mut deployment = json!({"spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}});
    complete(Schema::builtin(), "apps.v1.Deployment", &mut deployment);
    assert_eq!(
        deployment,
        json!({
            "metadata": {},
            "spec": {
                "selector": null, "strategy": {},
                "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
            },
            "status": {},
        })
    );
}

fn protobuf(expected: Expected<'_>, base64: &str) -> Value {
    read(expected, MediaType::Protobuf, &STANDARD.decode(base64).unwrap()).unwrap().value
}

#[test]
fn protobuf_bodies_of_client_go() {
    let deployment = "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErMBChEKAXcSABoAIgAqADIAOABCABKPAQgAEgoKCAoDYXBwEgFhGncKGgoA\
        EgAaACIAKgAyADgAQgBaCAoDYXBwEgFhElkSOwoBYxIWcmVnaXN0cnkuZXhhbXBsZS9hcHA6MSoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEA\
        kAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA";
    assert_eq!(
        protobuf(expected("apps/v1", "Deployment"), &deployment.replace([' ', '\n'], "")),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "strategy": {},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": [{
                        "name": "c", "image": "registry.example/app:1", "ports": [{"containerPort": 80}],
                        "resources": {},
                    }]},
                },
            },
            "status": {},
        })
    );
    let service = "azhzAAoNCgJ2MRIHU2VydmljZRJbChEKAXMSABoAIgAqADIAOABCABJCChQKAWESABhQIgkIARAAGgN3ZWIoAAoSCgFiEgAY\
        USIHCAAQkT8aACgAEgYKAWESAWIaACIAOgBCAFIAWgBgAGgAGgIKABoAIgA=";
    let service = protobuf(expected("v1", "Service"), &service.replace([' ', '\n'], ""));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "web");
    assert_eq!(service["spec"]["ports"][1]["targetPort"], 8081);
    let lease = "azhzAAofChZjb29yZGluYXRpb24uazhzLmlvL3YxEgVMZWFzZRIlChEKAWwSABoAIgAqADIAOABCABIQCgFoEA8iCQil+s2sBhDY\
        NhoAIgA=";
    let lease = protobuf(expected("coordination.k8s.io/v1", "Lease"), &lease.replace([' ', '\n'], ""));
    assert_eq!(
        lease["spec"],
        json!({"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": "2024-01-02T03:04:05.000007Z"})
    );
    let secret = "azhzAAoMCgJ2MRIGU2VjcmV0EicKEwoDc2VjEgAaACIAKgAyADgAQgASCAoBYRIDAAH/GgZPcGFxdWUaACIA";
    assert_eq!(protobuf(expected("v1", "Secret"), secret)["data"], json!({"a": "AAH/"}));
    let whole = STANDARD.decode(secret).unwrap();
    let cut = read(expected("v1", "Secret"), MediaType::Protobuf, &whole[..whole.len() - 10]);
    assert!(cut.unwrap_err().contains("unexpected EOF"));
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

#[test]
fn times_before_1970_are_times() {
    let acquired = |seconds: i64| {
        let mut time = vec![8];
        let mut rest = seconds as u64;
        while rest >= 0x80 {
            time.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        time.push(rest as u8);
        let body = [&b"k8s\0"[..], &field(2, &field(2, &field(3, &time)))].concat();
        let lease = read(expected("coordination.k8s.io/v1", "Lease"), MediaType::Protobuf, &body)?;
        Ok::<_, String>(lease.value["spec"]["acquireTime"].clone())
    };
    assert_eq!(acquired(-62_135_596_798), Ok("0001-01-01T00:00:02.000000Z".into()));
    assert_eq!(acquired(-1), Ok("1969-12-31T23:59:59.000000Z".into()));
    assert_eq!(acquired(253_402_300_799), Ok("9999-12-31T23:59:59.000000Z".into()));
    for beyond in [253_402_300_800, -62_167_219_201, i64::MIN, i64::MAX] {
        let why = acquired(beyond).unwrap_err();
        assert!(why.contains(&format!("{beyond} seconds and 0 nanoseconds are no time")), "{why}");
    }
}

#[test]
fn resource_lists_count_in_thousandths_and_other_quantities_do_not() {
    let tiny = json!({"cpu": "0.0001", "memory": "100u", "example.com/x": "1e-9"});
    let pod = json!({
        "spec": {
            "containers": [{"name": "c", "resources": {"limits": tiny, "requests": tiny}}],
            "overhead": tiny, "resources": {"requests": tiny},
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "100u"}}],
        },
        "status": {"containerStatuses": [{"name": "c", "allocatedResources": tiny}]},
    });
    let pod = check(Schema::builtin(), expected("v1", "Pod"), pod).unwrap().value;
    let rounded = json!({"cpu": "1m", "memory": "1m", "example.com/x": "1e-3"});
    for list in [
        &pod["spec"]["containers"][0]["resources"]["limits"],
        &pod["spec"]["containers"][0]["resources"]["requests"],
        &pod["spec"]["overhead"],
        &pod["spec"]["resources"]["requests"],
        &pod["status"]["containerStatuses"][0]["allocatedResources"],
    ] {
        assert_eq!(*list, rounded);
    }
    assert_eq!(pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "100u");
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300), media in 0_usize..3) {
        let media = [MediaType::Json, MediaType::Yaml, MediaType::Protobuf][media];
        let mut body = body;
        if media == MediaType::Protobuf {
            body.splice(0..0, *b"k8s\0\x12\xff\x01");
        }
        let _ = decode(Schema::builtin(), expected("v1", "Pod"), media, &body);
    }

    #[test]
    fn hostile_text_never_panics(body in "[\\[\\]{}:,\"a-z0-9 \n&*!<>|#'-]{0,80}") {
        let _ = decode(Schema::builtin(), expected("v1", "Pod"), MediaType::Yaml, body.as_bytes());
        let _ = decode(Schema::builtin(), expected("v1", "Pod"), MediaType::Json, body.as_bytes());
    }

    #[test]
    fn decoding_is_idempotent(data in proptest::collection::btree_map("[a-z]{1,4}", ".{0,8}", 0..5)) {
        let body = json!({"metadata": {"name": "m"}, "data": data});
        let once = check(Schema::builtin(), config_map(), body).unwrap().value;
        let twice = check(Schema::builtin(), config_map(), once.clone()).unwrap();
        prop_assert_eq!(&twice.value, &once);
        prop_assert_eq!(twice.findings, []);
    }
}

#[test]
fn where_a_type_is_open_or_silent_everything_is_kept_as_it_is() {
    let mut schema = Schema::clone(Schema::builtin());
    let row = r#"{"name":"x.v1.A","kinds":["x.dev/v1/A"],"open":true,"fields":[{"name":"free","type":"deduced","omitempty":true},{"name":"text","type":"string","omitempty":true}]}"#;
    schema.extend(row).unwrap();
    let expected = Expected { group: "x.dev", version: "v1", kind: "A", schema_type: "x.v1.A" };
    let body = r#"{"free": {"a": null, "b": [1.5, {}]}, "other": {"c": ""}, "none": null, "text": ""}"#;
    let read = |body: &str| decode(&schema, expected, MediaType::Json, body.as_bytes()).unwrap();
    let mut decoded = read(body);
    complete(&schema, "x.v1.A", &mut decoded.value);
    for key in ["apiVersion", "kind"] {
        decoded.value.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(decoded.value, json!({"free": {"a": null, "b": [1.5, {}]}, "other": {"c": ""}, "none": null}));
    assert_eq!(decoded.findings, []);
    let twice = read(r#"{"other": {"c": 1, "c": 2}}"#);
    assert_eq!(twice.findings, [Finding::Duplicate("other.c".to_owned())]);
    assert_eq!(twice.value["other"], json!({"c": 2}));
}

#[test]
fn comments_in_yaml_are_nobodys_business() {
    let body = "# first\n---\n# second\nkind: ConfigMap # third\nmetadata: # fourth\n  # fifth\n  name: m\ndata:\n  a: \
                \"#\" # sixth\n  b:\n    # seventh\n    |\n      # text\n# last\n";
    let decoded = read(config_map(), MediaType::Yaml, body.as_bytes()).unwrap();
    assert_eq!(decoded.findings, []);
    assert_eq!(decoded.value["metadata"]["name"], "m");
    assert_eq!(decoded.value["data"], json!({"a": "#", "b": "# text\n"}));
}
