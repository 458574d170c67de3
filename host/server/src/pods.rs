//! What logs and sessions share: a pod's node and one of its containers.

use std::sync::Arc;

use berth_api::{Reason, Status};
use berth_client::{NodeApi, NodeError};
use berth_json::Value;
use berth_state::Key;

use crate::rest::Target;
use crate::server::Inner;

/// A container on a node that can be asked.
pub(crate) struct Place {
    pub(crate) node: Arc<dyn NodeApi>,
    pub(crate) uid: String,
    pub(crate) container: String,
    /// Whether the container has a terminal.
    pub(crate) container_tty: bool,
    /// Whether the container keeps an open standard input.
    pub(crate) container_stdin: bool,
}

/// Finds the container `wanted` (or the only one) of the target's pod.
pub(crate) fn find(server: &Inner, target: &Target, wanted: &str) -> Result<Place, Status> {
    let resource = &target.resource;
    let name = target.path.name.as_str();
    let key = Key::new(resource.id.clone(), target.path.namespace.as_str(), name);
    let stored = server.cluster.read(|state| state.get(&key).cloned());
    let stored = stored.ok_or_else(|| Status::not_found(resource, name))?;
    let pod = stored.to_value(resource);
    let container = container(&pod, wanted)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let api = server.nodes.get(node).ok_or_else(|| {
        let message = format!("node {node} of pod {name} is not connected to this server");
        Status::new(Reason::ServiceUnavailable, message)
    })?;
    Ok(Place {
        node: api,
        uid: stored.meta().uid.to_string(),
        container: container["name"].as_str().unwrap_or_default().to_owned(),
        container_tty: container["tty"] == true,
        container_stdin: container["stdin"] == true,
    })
}

/// A node's error as the client sees it.
pub(crate) fn status_of(error: NodeError) -> Status {
    match error {
        NodeError::NotFound(why) => Status::new(Reason::NotFound, why),
        NodeError::NotReady(why) | NodeError::BadRequest(why) => Status::bad_request(why),
        NodeError::Internal(why) => Status::internal(why),
    }
}

fn container<'a>(pod: &'a Value, wanted: &str) -> Result<&'a Value, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let of = |list: &str| pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
    let (containers, init) = (of("containers"), of("initContainers"));
    if !wanted.is_empty() {
        let mut all = containers.iter().chain(init);
        let found = all.find(|container| container["name"] == wanted);
        return found
            .ok_or_else(|| Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    match containers {
        [only] => Ok(only),
        many => {
            let names: Vec<&str> = many.iter().filter_map(|container| container["name"].as_str()).collect();
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names.join(" ")
            );
            if !init.is_empty() {
                let names: Vec<&str> = init.iter().filter_map(|c| c["name"].as_str()).collect();
                message.push_str(&format!(" or one of the init containers: [{}]", names.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::container;
    use berth_json::json;

    #[test]
    fn a_container_is_chosen_or_named() {
        let pod = json!({ "metadata": { "name": "p" }, "spec": {
            "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }],
        }});
        assert_eq!(container(&pod, "i").unwrap()["name"], "i");
        let message = |wanted| container(&pod, wanted).unwrap_err().message;
        assert_eq!(message("x"), "container x is not valid for pod p");
        assert_eq!(
            message(""),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        let single = json!({ "spec": { "containers": [{ "name": "only" }] } });
        assert_eq!(container(&single, "").unwrap()["name"], "only");
    }
}
