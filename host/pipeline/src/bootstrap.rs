//! What every cluster has from its first second on.

use berth_api::Catalogue;
use berth_json::{Value, json};

use crate::identity::{Identity, Verb};
use crate::ranges::ServiceCidr;
use crate::request::{Body, Options, PatchKind, Request};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The creates of the namespaces `default`, `kube-system`, `kube-public`, `kube-node-lease` and of the Service
/// `default/kubernetes`, whose port leads to `api_port`. In this order; what is there already answers 409 and is fine.
pub fn system_objects(catalogue: &Catalogue, services: ServiceCidr, api_port: u16) -> Vec<Request> {
    let namespaces = NAMESPACES.map(|name| ("namespaces", "", json!({"metadata": {"name": name}})));
    let kubernetes = ("services", "default", kubernetes_service(services, api_port));
    let create = |(resource, namespace, object): (&str, &str, Value)| {
        Some(Request {
            identity: Identity::component("apiserver"),
            verb: Verb::Create,
            resource: catalogue.named(resource)?.clone(),
            subresource: "",
            namespace: namespace.to_owned(),
            name: String::new(),
            body: Body::Object(object),
            options: Options { field_manager: "berth".to_owned(), ..Options::default() },
        })
    };
    namespaces.into_iter().chain([kubernetes]).filter_map(create).collect()
}

/// The write that makes the Service `default/kubernetes` lead to `api_port` again, given what `create`, one of
/// [`system_objects`], would make, and what is there; `None` when it does. Somebody may have changed its ports, or the port
/// is another one since this start.
pub fn port_correction(create: &Request, present: &Value) -> Option<Request> {
    let Body::Object(wanted) = &create.body else { return None };
    // A node port, where somebody wants one, does not change where it leads.
    let leads = |service: &Value| -> Vec<Value> {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.map(|port| json!([port["name"], port["protocol"], port["port"], port["targetPort"]])).collect()
    };
    let is_right = leads(wanted) == leads(present) && present["spec"]["selector"].is_null();
    if &*create.resource.id != "services" || is_right {
        return None;
    }
    let patch = json!({"spec": {"ports": wanted["spec"]["ports"], "selector": null}});
    let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
    Some(Request { verb: Verb::Patch, name: name_of(create).to_owned(), body, ..create.clone() })
}

/// The name of the object that one of these requests makes.
pub fn name_of(request: &Request) -> &str {
    match &request.body {
        Body::Object(object) => object["metadata"]["name"].as_str().unwrap_or_default(),
        _ => "",
    }
}

fn kubernetes_service(services: ServiceCidr, api_port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": services.api_server().to_string(),
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": api_port}],
        },
    })
}
