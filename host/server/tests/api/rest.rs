//! Reads, writes, watches and who may do them, over HTTPS with the crate's own client.

use std::io::Read;
use std::time::Duration;

use crate::harness::Harness;
use berth_client::{
    ApiResource, ClientError, Credentials, DeleteOptions, Event, Followed, ListOptions, PatchKind, Transport,
};
use berth_pipeline::Identity;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::Request;
use serde_json::{Value, json};

const MAPS: ApiResource = ApiResource::CONFIG_MAPS;

fn map(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "set": "s" } }, "data": { "a": "1" } })
}

fn code(error: ClientError) -> u16 {
    error.status().unwrap_or_else(|| panic!("no answer: {error}")).code
}

#[tokio::test]
async fn an_object_lives_and_dies() {
    let harness = Harness::start().await;
    for client in [harness.client(), harness.in_process()] {
        let created = client.create(MAPS, "default", &map("m")).await.unwrap();
        assert_eq!(created["kind"], "ConfigMap");
        assert!(client.create(MAPS, "default", &map("m")).await.unwrap_err().is_already_exists());
        let patch = json!({ "data": { "a": "2" } });
        let patched = client.patch(MAPS, "default", "m", "", PatchKind::Merge, &patch).await.unwrap();
        assert_eq!(patched["data"]["a"], "2");
        assert!(
            client.update(MAPS, "default", "", &created).await.unwrap_err().is_conflict(),
            "a stale version"
        );
        assert_eq!(client.get(MAPS, "default", "m").await.unwrap(), patched);
        client.delete(MAPS, "default", "m", &DeleteOptions::default()).await.unwrap();
        assert!(client.get(MAPS, "default", "m").await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn pages_of_a_list_belong_together() {
    let harness = Harness::start().await;
    let client = harness.client();
    for at in 0..5 {
        client.create(MAPS, "default", &map(&format!("m{at}"))).await.unwrap();
    }
    let first = ListOptions { limit: Some(2), ..ListOptions::labels("set=s") };
    let page = client.list(MAPS, "default", &first).await.unwrap();
    // What happens between the pages does not show in them.
    client.delete(MAPS, "default", "m3", &DeleteOptions::default()).await.unwrap();
    let mut names: Vec<Value> = page.items.iter().map(|item| item["metadata"]["name"].clone()).collect();
    let mut token = page.continue_token;
    while !token.is_empty() {
        let next = ListOptions { continue_token: token, ..first.clone() };
        let more = client.list(MAPS, "default", &next).await.unwrap();
        assert_eq!(more.resource_version, page.resource_version);
        names.extend(more.items.iter().map(|item| item["metadata"]["name"].clone()));
        token = more.continue_token;
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
}

#[tokio::test]
async fn a_large_list_is_sent_while_it_is_written() {
    let harness = Harness::start().await;
    for at in 0..40 {
        let mut map = map(&format!("m{at:02}"));
        map["data"]["large"] = "x".repeat(20_000).into();
        harness.client().create(MAPS, "default", &map).await.unwrap();
    }
    for client in [harness.client(), harness.in_process()] {
        let list = client.list(MAPS, "default", &ListOptions::labels("set=s")).await.unwrap();
        let whole =
            list.items.iter().filter(|map| map["data"]["large"].as_str().is_some_and(|x| x.len() == 20_000));
        assert_eq!(whole.count(), 40);
    }
    let get = async |header: &str, value: &str| {
        let request = Request::get("/api/v1/namespaces/default/configmaps").header(header, value);
        harness.send(&harness.admin(), request.body(Bytes::new()).unwrap()).await
    };
    let (_, plain) = get("accept", "application/json").await;
    let (head, compressed) = get("accept-encoding", "gzip").await;
    assert_eq!(head.headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    GzDecoder::new(&compressed[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain && compressed.len() * 10 < plain.len());
    let (_, lines) = get("user-agent", "curl/8.5.0").await;
    let value: Value = serde_json::from_slice(&plain).unwrap();
    assert!(lines.starts_with(b"{\n  \"kind\": \"ConfigMapList\","));
    assert_eq!(serde_json::from_slice::<Value>(&lines).unwrap(), value);
}

#[tokio::test]
async fn what_is_only_posted_cannot_be_read() {
    let harness = Harness::start().await;
    let client = harness.client();
    for (path, expected) in [
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?watch=true", 405),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x", 404),
        ("/api/v1/namespaces/default/bindings", 405),
    ] {
        assert_eq!(code(client.get_raw(path).await.unwrap_err()), expected, "{path}");
    }
}

#[tokio::test]
async fn what_is_only_posted_has_no_table() {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let harness = Harness::start().await;
    let transport = harness.server.in_process(Identity::component("test"));
    let review = json!({ "spec": { "nonResourceAttributes": { "path": "/", "verb": "get" } } });
    for (path, body, accept, expected) in [
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review, TABLE, 406),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review, &format!("{TABLE},*/*"), 201),
        ("/api/v1/namespaces/default/serviceaccounts/default/token", &json!({}), TABLE, 406),
        ("/api/v1/namespaces/default/configmaps", &map("m"), TABLE, 201),
    ] {
        let request = Request::post(path).header("accept", accept).body(body.to_string().into());
        let answer = transport.send(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected, "{path} {accept}");
    }
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_two_versions() {
    let of_version =
        |version| ApiResource { group: "autoscaling", version, plural: "horizontalpodautoscalers" };
    let (v1, v2) = (of_version("v1"), of_version("v2"));
    let harness = Harness::start().await;
    let client = harness.client();
    let memory = json!({ "type": "Resource", "resource": {
        "name": "memory", "target": { "type": "AverageValue", "averageValue": "100Mi" },
    } });
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" });
    let body = json!({
        "metadata": { "name": "h" }, "spec": { "maxReplicas": 3, "scaleTargetRef": target, "metrics": [memory] },
    });
    let path = v2.path_of("default", "", "");
    let request = Request::post(path).body(body.to_string().into()).unwrap();
    let transport = harness.server.in_process(Identity::component("test"));
    let answer = transport.send(request).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert!(!answer.headers().contains_key("warning"), "all of it is honoured");

    let patch = json!({ "spec": { "targetCPUUtilizationPercentage": 70 } });
    let patched = client.patch(v1, "default", "h", "", PatchKind::Merge, &patch).await.unwrap();
    assert_eq!(patched["apiVersion"], "autoscaling/v1");
    assert_eq!(patched["metadata"]["generation"], 2);
    let seen = client.get(v2, "default", "h").await.unwrap();
    assert_eq!(seen["spec"]["metrics"][0], memory);
    assert_eq!(seen["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 70);
    assert_eq!(seen["metadata"].get("annotations"), None);

    let status = json!({ "status": { "conditions": [{ "type": "AbleToScale", "status": "True" }] } });
    client.patch(v2, "default", "h", "status", PatchKind::Merge, &status).await.unwrap();
    let own = client.get(v1, "default", "h").await.unwrap();
    client.update(v1, "default", "", &own).await.unwrap();
    let seen = client.get(v2, "default", "h").await.unwrap();
    assert_eq!(seen["status"]["conditions"][0]["type"], "AbleToScale");
    assert_eq!(seen["spec"]["metrics"][0], memory);
}

#[tokio::test]
async fn a_watch_sees_what_enters_changes_and_leaves() {
    let harness = Harness::start().await;
    let client = harness.client();
    let options = ListOptions::labels("set=s");
    let list = client.list(MAPS, "default", &options).await.unwrap();
    let minute = Duration::from_secs(60);
    let mut watch = client.watch(MAPS, "default", &options, &list.resource_version, minute).await.unwrap();
    client.create(MAPS, "default", &map("m")).await.unwrap();
    client.create(MAPS, "default", &json!({ "metadata": { "name": "other" } })).await.unwrap();
    for patch in [json!({ "data": { "a": "2" } }), json!({ "metadata": { "labels": { "set": "t" } } })] {
        client.patch(MAPS, "default", "m", "", PatchKind::Merge, &patch).await.unwrap();
    }
    let Some(Event::Added(added)) = watch.next().await.unwrap() else { panic!("not added") };
    assert_eq!(added["metadata"]["name"], "m");
    let Some(Event::Modified(modified)) = watch.next().await.unwrap() else { panic!("not modified") };
    assert_eq!(modified["data"]["a"], "2");
    let Some(Event::Deleted(left)) = watch.next().await.unwrap() else { panic!("not deleted") };
    let now = client.get(MAPS, "default", "m").await.unwrap();
    assert_eq!(left["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
    assert_eq!(left["metadata"]["labels"]["set"], "s", "as it was when it was still selected");
}

#[tokio::test]
async fn a_watch_of_few_sees_them_come_and_go_and_nothing_else() {
    const PODS: ApiResource = ApiResource::PODS;
    let harness = Harness::start().await;
    let client = harness.client();
    for namespace in ["default", "kube-system"] {
        let account = json!({ "metadata": { "name": "default" } });
        client.create(ApiResource::SERVICE_ACCOUNTS, namespace, &account).await.unwrap();
    }
    let list = client.list(PODS, "", &ListOptions::default()).await.unwrap();
    let cases: [(&str, &str, &[&str]); 6] = [
        ("", "spec.nodeName=a", &["added p", "deleted p", "added r"]),
        ("default", "spec.nodeName=a,metadata.name!=q", &["added p", "deleted p"]),
        ("default", "metadata.name=p", &["added p", "modified p", "deleted p"]),
        ("", "metadata.namespace=default,metadata.name=p,spec.nodeName=a", &["added p", "deleted p"]),
        ("kube-system", "spec.nodeName=a", &["added r"]),
        ("default", "spec.nodeName=b", &["added q", "deleted q"]),
    ];
    let mut watches = vec![];
    for (namespace, selector, _) in cases {
        let (options, minute) = (ListOptions::fields(selector), Duration::from_secs(60));
        let watch = client.watch(PODS, namespace, &options, &list.resource_version, minute).await.unwrap();
        watches.push(watch);
    }
    let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    for (namespace, name, node) in [("default", "q", "b"), ("default", "p", "a"), ("kube-system", "r", "a")] {
        let spec = json!({ "containers": [{ "name": "c", "image": "app:1" }] });
        let pod = json!({ "metadata": { "name": name }, "spec": spec });
        client.create(PODS, namespace, &pod).await.unwrap();
        let binding = json!({ "metadata": { "name": name }, "target": { "name": node } });
        client.create_sub(PODS, namespace, name, "binding", &binding).await.unwrap();
        if namespace == "default" {
            client.delete(PODS, namespace, name, &at_once).await.unwrap();
        }
    }
    for (watch, (namespace, selector, wanted)) in watches.iter_mut().zip(cases) {
        for wanted in wanted {
            let (kind, object) = match watch.next().await.unwrap() {
                Some(Event::Added(object)) => ("added", object),
                Some(Event::Modified(object)) => ("modified", object),
                Some(Event::Deleted(object)) => ("deleted", object),
                other => panic!("{namespace} {selector}: {other:?} instead of {wanted}"),
            };
            let seen = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap());
            assert_eq!(seen, *wanted, "{namespace} {selector}");
        }
    }
    harness.server.set_stopping();
    for mut watch in watches {
        assert_eq!(watch.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn who_follows_learns_everything() {
    let harness = Harness::start().await;
    let client = harness.in_process();
    client.create(MAPS, "default", &map("m")).await.unwrap();
    let mut follow = client.follow(MAPS, "", ListOptions::labels("set=s"));
    let Followed::Replaced(all) = follow.next().await else { panic!("not the list first") };
    assert_eq!(all.len(), 1);
    client.create(MAPS, "default", &map("n")).await.unwrap();
    let Followed::Applied(object) = follow.next().await else { panic!("not applied") };
    assert_eq!(object["metadata"]["name"], "n");
    client.delete(MAPS, "default", "m", &DeleteOptions::default()).await.unwrap();
    let Followed::Deleted(object) = follow.next().await else { panic!("not deleted") };
    assert_eq!(object["metadata"]["name"], "m");
}

#[tokio::test]
async fn nobody_learns_nothing() {
    let harness = Harness::start().await;
    let nobody = harness.client_as(Credentials::Anonymous);
    assert_eq!(code(nobody.get(MAPS, "default", "m").await.unwrap_err()), 401);
    assert_eq!(code(nobody.get_raw("/apis").await.unwrap_err()), 401);
    assert_eq!(nobody.get_raw("/readyz").await.unwrap(), "ok");
    assert!(nobody.get_raw("/version").await.unwrap().starts_with(b"{"));
    let liar = harness.client_as(Credentials::Token("not.a.token".to_owned()));
    assert_eq!(code(liar.get(MAPS, "default", "m").await.unwrap_err()), 401);
}

#[tokio::test]
async fn a_token_is_good_as_long_as_its_account_is() {
    let harness = Harness::start().await;
    let client = harness.client();
    let accounts = ApiResource::SERVICE_ACCOUNTS;
    client.create(accounts, "default", &json!({ "metadata": { "name": "robot" } })).await.unwrap();
    let (token, expires) = client.token("default", "robot", 3600, None).await.unwrap();
    assert!(expires.ends_with('Z'), "{expires}");
    let robot = harness.client_as(Credentials::Token(token));
    assert!(robot.get_raw("/apis").await.is_ok(), "authenticated");
    assert_eq!(code(robot.get(MAPS, "default", "m").await.unwrap_err()), 403, "but without rights");
    client.delete(accounts, "default", "robot", &DeleteOptions::default()).await.unwrap();
    client.create(accounts, "default", &json!({ "metadata": { "name": "robot" } })).await.unwrap();
    let error = robot.get_raw("/apis").await.unwrap_err();
    assert_eq!(code(error), 401, "another account of the same name");
}

#[tokio::test]
async fn a_component_is_checked_kept_and_given_back() {
    let harness = Harness::start().await;
    let client = harness.client();
    let error = client.upload_component("spread", "not Wasm".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Plugin.berth.dev \"spread\" is invalid: component: Invalid value: \"8 bytes\": it is no Wasm"
    );
    let component: &[u8] = b"\0asm and more";
    let plugin = client.upload_component("spread", component.into()).await.unwrap();
    assert!(plugin["spec"]["digest"].as_str().unwrap().starts_with("sha256:"), "{plugin}");
    let path = ApiResource::PLUGINS.path_of("", "spread", "component");
    assert_eq!(client.get_raw(&path).await.unwrap(), component);
    let again = client.upload_component("spread", (&b"\0asm, the next"[..]).into()).await.unwrap();
    assert_ne!(again["spec"]["digest"], plugin["spec"]["digest"]);
    assert_eq!(again["metadata"]["uid"], plugin["metadata"]["uid"]);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let harness = Harness::start().await;
    let client = harness.client();
    for (path, expected) in [
        ("/nothing", 404),
        ("/apis/nosuch/v1/things", 404),
        ("/api/v1/nosuch", 404),
        ("/api/v1/namespaces/default/pods/p/portforward", 501),
        ("/api/v1/namespaces/default/configmaps?labelSelector=a%3Db%3Dc", 400),
        ("/api/v1/namespaces/default/configmaps?resourceVersion=99999999", 504),
        ("/api/v1/namespaces/default/configmaps?watch=1&resourceVersionMatch=Exact", 422),
    ] {
        assert_eq!(code(client.get_raw(path).await.unwrap_err()), expected, "{path}");
    }
}

#[tokio::test]
async fn a_stopping_server_ends_its_watches() {
    let harness = Harness::start().await;
    let client = harness.client();
    let options = ListOptions::default();
    let list = client.list(MAPS, "default", &options).await.unwrap();
    let minute = Duration::from_secs(60);
    let mut watch = client.watch(MAPS, "default", &options, &list.resource_version, minute).await.unwrap();
    harness.server.set_stopping();
    let ended = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
    assert_eq!(ended.unwrap().unwrap(), None);
    assert_eq!(code(client.get_raw("/readyz").await.unwrap_err()), 500);
    assert_eq!(client.get_raw("/livez").await.unwrap(), "ok");
}
