//! A container's environment.

use std::net::IpAddr;

use berth_image::ImageConfig;
use serde_json::Value;

use crate::container::fields::{Surroundings, expand, field, resource};
use crate::container::keys::contents;
use crate::container::sources::{Objects, SourceKind, SourceName};
use crate::manifest::{Container, EnvSource, EnvVar, KeyRef, Pod};

/// Everything an environment is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) objects: &'a Objects,
    pub(crate) services: &'a [ServiceAddress],
    pub(crate) around: Surroundings,
}

/// A service as environment variables name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAddress {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    /// Name, number and protocol of each port.
    pub(crate) ports: Vec<(String, u16, String)>,
}

impl ServiceAddress {
    /// Reads a service; `None` for one without an address of its own or without ports.
    pub(crate) fn from_value(service: &Value) -> Option<ServiceAddress> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
        let port = |port: &Value| {
            let number = u16::try_from(port["port"].as_u64()?).ok()?;
            Some((text(&port["name"]), number, text(&port["protocol"])))
        };
        let ports: Vec<_> = ports.iter().filter_map(port).collect();
        let ip = service["spec"]["clusterIP"].as_str()?.parse().ok()?;
        let metadata = &service["metadata"];
        (!ports.is_empty()).then(|| ServiceAddress {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            ip,
            ports,
        })
    }

    fn variables(&self) -> Vec<(String, String)> {
        let prefix = self.name.to_ascii_uppercase().replace('-', "_");
        let (host, first) = (self.ip.to_string(), self.ports[0].1);
        let mut all = vec![
            (format!("{prefix}_SERVICE_HOST"), host.clone()),
            (format!("{prefix}_SERVICE_PORT"), first.to_string()),
        ];
        for (name, port, _) in self.ports.iter().filter(|(name, ..)| !name.is_empty()) {
            let name = name.to_ascii_uppercase().replace('-', "_");
            all.push((format!("{prefix}_SERVICE_PORT_{name}"), port.to_string()));
        }
        for (index, (_, port, protocol)) in self.ports.iter().enumerate() {
            let protocol = if protocol.is_empty() { "TCP" } else { protocol };
            let url = format!("{}://{host}:{port}", protocol.to_ascii_lowercase());
            if index == 0 {
                all.push((format!("{prefix}_PORT"), url.clone()));
            }
            let port_prefix = format!("{prefix}_PORT_{port}_{protocol}");
            all.push((port_prefix.clone(), url));
            all.push((format!("{port_prefix}_PROTO"), protocol.to_ascii_lowercase()));
            all.push((format!("{port_prefix}_PORT"), port.to_string()));
            all.push((format!("{port_prefix}_ADDR"), host.clone()));
        }
        all
    }
}

/// The objects that a container's environment is made from.
pub(crate) fn sources(container: &Container) -> Vec<SourceName> {
    let named = |kind, name: &str| SourceName { kind, name: name.to_owned() };
    let mut names = Vec::new();
    for from in &container.env_from {
        names.extend(from.config_map_ref.as_ref().map(|r| named(SourceKind::ConfigMap, &r.object.name)));
        names.extend(from.secret_ref.as_ref().map(|r| named(SourceKind::Secret, &r.object.name)));
    }
    for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        names.extend(source.config_map_key_ref.as_ref().map(|r| named(SourceKind::ConfigMap, &r.name)));
        names.extend(source.secret_key_ref.as_ref().map(|r| named(SourceKind::Secret, &r.name)));
    }
    names
}

/// The variables that the pod gives a container: services', then `envFrom`, then `env`; a later one replaces an
/// earlier one, and a reference to one that comes later stays as it is.
///
/// # Errors
/// In the kubelet's words, for `CreateContainerConfigError`.
pub(crate) fn variables(inputs: &Inputs<'_>) -> Result<Variables, String> {
    let mut variables = Variables::default();
    for service in inputs.services.iter().filter(|service| is_visible(inputs.pod, service)) {
        for (name, value) in service.variables() {
            variables.set(&name, value);
        }
    }
    env_from(inputs, &mut variables)?;
    for variable in &inputs.container.env {
        if let Some(value) = value_of(inputs, variable, &variables)? {
            variables.set(&variable.name, value);
        }
    }
    Ok(variables)
}

/// The whole environment: the image's, the host name, and over both the pod's.
pub(crate) fn environment(image: &ImageConfig, hostname: &str, pod: &Variables) -> Vec<(String, String)> {
    let mut all = Variables::default();
    for (name, value) in image.env.iter().filter_map(|pair| pair.split_once('=')) {
        all.set(name, value.to_owned());
    }
    all.set("HOSTNAME", hostname.to_owned());
    for (name, value) in &pod.0 {
        all.set(name, value.clone());
    }
    all.0
}

/// Every pod sees the API server's service, and those of its namespace unless it does not want to.
fn is_visible(pod: &Pod, service: &ServiceAddress) -> bool {
    let is_api = service.namespace == "default" && service.name == "kubernetes";
    let links = pod.spec.enable_service_links.unwrap_or(true);
    is_api || (links && service.namespace == pod.metadata.namespace)
}

/// Variables by name, in order of first definition.
#[derive(Default)]
pub(crate) struct Variables(Vec<(String, String)>);

#[cfg(test)]
impl<const COUNT: usize> From<[(&str, &str); COUNT]> for Variables {
    fn from(pairs: [(&str, &str); COUNT]) -> Variables {
        Variables(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

fn env_from(inputs: &Inputs<'_>, variables: &mut Variables) -> Result<(), String> {
    for from in &inputs.container.env_from {
        let references =
            [(SourceKind::ConfigMap, &from.config_map_ref), (SourceKind::Secret, &from.secret_ref)];
        for (kind, reference) in references {
            let Some(reference) = reference else { continue };
            let name = SourceName { kind, name: reference.object.name.clone() };
            let Some(object) = inputs.objects.get(&name).and_then(Option::as_ref) else {
                if reference.optional {
                    continue;
                }
                return Err(not_found(&name));
            };
            for (key, value) in contents(kind, object)? {
                let variable = format!("{}{key}", from.prefix);
                // A key that cannot be a variable's name is left out, as the kubelet does.
                if variable.contains('=') || variable.is_empty() {
                    continue;
                }
                variables.set(&variable, String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    Ok(())
}

fn value_of(inputs: &Inputs<'_>, variable: &EnvVar, known: &Variables) -> Result<Option<String>, String> {
    match &variable.value_from {
        None => Ok(Some(expand(&variable.value, |name| known.get(name)))),
        Some(source) => from_source(inputs, source),
    }
}

fn from_source(inputs: &Inputs<'_>, source: &EnvSource) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        return field(inputs.pod, &reference.field_path, inputs.around).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource(inputs.pod, Some(inputs.container), reference, inputs.around).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        return from_key(inputs, SourceKind::ConfigMap, reference);
    }
    match &source.secret_key_ref {
        Some(reference) => from_key(inputs, SourceKind::Secret, reference),
        None => Err("the source of an environment variable is of a kind this node does not know".to_owned()),
    }
}

fn from_key(inputs: &Inputs<'_>, kind: SourceKind, reference: &KeyRef) -> Result<Option<String>, String> {
    let name = SourceName { kind, name: reference.name.clone() };
    let object = inputs.objects.get(&name).and_then(Option::as_ref);
    let Some(object) = object else {
        return if reference.optional { Ok(None) } else { Err(not_found(&name)) };
    };
    match contents(kind, object)?.remove(&reference.key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if reference.optional => Ok(None),
        None => {
            let what = match kind {
                SourceKind::ConfigMap => "ConfigMap",
                SourceKind::Secret => "Secret",
            };
            let namespace = &inputs.pod.metadata.namespace;
            Err(format!("couldn't find key {} in {what} {namespace}/{}", reference.key, reference.name))
        }
    }
}

/// As the kubelet says it.
pub(crate) fn not_found(name: &SourceName) -> String {
    format!("{} {:?} not found", name.kind.word(), name.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::fields::Allocatable;
    use serde_json::json;
    use std::sync::Arc;

    fn check(container: Value, objects: &Objects) -> Result<Vec<String>, String> {
        let pod = Pod::from_value(json!({
            "metadata": { "name": "p", "namespace": "d" }, "spec": { "containers": [container] },
        }))
        .unwrap();
        let around = Surroundings {
            host_ip: [10, 0, 0, 1].into(),
            pod_ip: Some([10, 1, 0, 2].into()),
            allocatable: Allocatable { cpu_millis: 1000, memory_bytes: 0, storage_bytes: 0 },
        };
        let image =
            ImageConfig { env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()], ..Default::default() };
        let services = [ServiceAddress {
            namespace: "default".to_owned(),
            name: "kubernetes".to_owned(),
            ip: [10, 2, 0, 1].into(),
            ports: vec![("https".to_owned(), 443, "TCP".to_owned())],
        }];
        let container = pod.container("c").unwrap();
        let inputs = Inputs { pod: &pod, container, objects, services: &services, around };
        let env = environment(&image, pod.hostname(), &variables(&inputs)?);
        Ok(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    fn objects() -> Objects {
        let map = json!({ "data": { "k": "v", "B": "$(A)" } });
        let secret = json!({ "data": { "s": "c2VjcmV0" } });
        [
            (SourceKind::ConfigMap, "m", Some(map)),
            (SourceKind::Secret, "s", Some(secret)),
            (SourceKind::ConfigMap, "gone", None),
        ]
        .map(|(kind, name, object)| (SourceName { kind, name: name.to_owned() }, object.map(Arc::new)))
        .into()
    }

    #[test]
    fn values_references_and_services() {
        let env = check(
            json!({ "name": "c",
                "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "m" } },
                            { "secretRef": { "name": "gone", "optional": true } }],
                "env": [
                    { "name": "A", "value": "own" },
                    { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                    { "name": "S", "valueFrom": { "secretKeyRef": { "name": "s", "key": "s" } } },
                    { "name": "N", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "x", "optional": true } } },
                    { "name": "URL", "value": "http://$(IP):$(KUBERNETES_SERVICE_PORT)/$(LATER)$(PATH)" },
                    { "name": "LATER", "value": "$(P_B)" },
                ] }),
            &objects(),
        )
        .unwrap();
        for expected in [
            "PATH=/bin",
            "A=own",
            "HOSTNAME=p",
            "P_k=v",
            "P_B=$(A)",
            "S=secret",
            "URL=http://10.1.0.2:443/$(LATER)$(PATH)",
            "LATER=$(A)",
            "KUBERNETES_SERVICE_HOST=10.2.0.1",
            "KUBERNETES_PORT_443_TCP=tcp://10.2.0.1:443",
        ] {
            assert!(env.iter().any(|variable| variable == expected), "{expected} in {env:?}");
        }
        assert!(!env.iter().any(|variable| variable.starts_with("N=")));
    }

    #[test]
    fn what_is_missing_is_named_in_the_kubelets_words() {
        let from = |reference: Value| {
            check(json!({ "name": "c", "env": [{ "name": "X", "valueFrom": reference }] }), &objects())
        };
        let error = from(json!({ "configMapKeyRef": { "name": "gone", "key": "k" } })).unwrap_err();
        assert_eq!(error, "configmap \"gone\" not found");
        let error = from(json!({ "secretKeyRef": { "name": "s", "key": "nope" } })).unwrap_err();
        assert_eq!(error, "couldn't find key nope in Secret d/s");
    }
}
