//! Which plugin decides where: swapping, rolling back, unbinding.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_client::{Client, DeleteOptions, ListOptions, PatchKind};
use serde_json::{Value, json};

use super::{BINDINGS, PLUGINS, text};
use crate::cli::SwapOptions;

/// How long a swap is waited for: a policy is compiled and fed in well under a second unless the machine is very busy.
const SWAP_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often its status is looked at meanwhile.
const SWAP_POLL: Duration = Duration::from_millis(20);

/// Lets a plugin decide at a place from now on.
pub(super) async fn swap(client: &Client, options: SwapOptions) -> anyhow::Result<()> {
    let SwapOptions { plugin, profile, config, failure_policy, order } = options;
    let role = role_of(client, &plugin).await?;
    let place = profile.unwrap_or_else(|| usual_place(&role, &plugin));
    let config = config.as_deref().map(serde_json::from_str::<Value>).transpose();
    let config = config.context("--config is not JSON")?;
    let binding = match bound(client, &role, &place).await? {
        Some(binding) => {
            // Not merged: a key of the configuration before would become one of this plugin's.
            let mut patch = vec![
                json!({"op": "add", "path": "/spec/plugin", "value": plugin}),
                json!({"op": "add", "path": "/spec/config", "value": config}),
            ];
            if let Some(policy) = failure_policy {
                patch.push(json!({"op": "add", "path": "/spec/failurePolicy", "value": policy}));
            }
            if let Some(order) = order {
                patch.push(json!({"op": "add", "path": "/spec/order", "value": order}));
            }
            let name = text(&binding["metadata"]["name"]);
            client.patch(BINDINGS, "", name, "", PatchKind::Json, &patch.into()).await?
        }
        None => {
            let mut spec = json!({"role": role, "plugin": plugin, "config": config});
            if role != ADMISSION {
                spec["profile"] = place.as_str().into();
            }
            if let Some(policy) = failure_policy {
                spec["failurePolicy"] = policy.into();
            }
            if let Some(order) = order {
                spec["order"] = order.into();
            }
            let name = if role == AUTOSCALER { format!("autoscaler-{place}") } else { place.clone() };
            let binding = json!({
                "apiVersion": "berth.dev/v1alpha1", "kind": "PluginBinding",
                "metadata": {"name": name}, "spec": spec,
            });
            client.create(BINDINGS, "", &binding).await?
        }
    };
    tell(client, &plugin, binding).await
}

/// Goes back to the version that served a place before, with the configuration it had.
pub(super) async fn roll_back(client: &Client, place: &str) -> anyhow::Result<()> {
    let Some(binding) = named(client, place).await? else { bail!("{place} is bound by nobody") };
    let good = &binding["status"]["lastGood"];
    let (Some(plugin), Some(digest)) = (good["plugin"].as_str(), good["digest"].as_str()) else {
        bail!("{place} has no version to go back to: none served before the one that serves now");
    };
    let config = good["config"].as_str().map(serde_json::from_str::<Value>).transpose();
    let config = config.context("the configuration before cannot be read")?;
    let installed = client.get(PLUGINS, "", plugin).await?;
    if installed["spec"]["digest"] != digest {
        let patch = json!({"spec": {"digest": digest}});
        client.patch(PLUGINS, "", plugin, "", PatchKind::Merge, &patch).await?;
    }
    let patch = json!([
        {"op": "add", "path": "/spec/plugin", "value": plugin},
        {"op": "add", "path": "/spec/config", "value": config},
    ]);
    let name = text(&binding["metadata"]["name"]);
    let binding = client.patch(BINDINGS, "", name, "", PatchKind::Json, &patch).await?;
    tell(client, plugin, binding).await
}

/// Leaves a place without a plugin of its own.
pub(super) async fn unbind(client: &Client, place: &str) -> anyhow::Result<()> {
    let Some(binding) = named(client, place).await? else { bail!("{place} is bound by nobody") };
    let name = text(&binding["metadata"]["name"]);
    client.delete(BINDINGS, "", name, &DeleteOptions::default()).await?;
    println!("{} has no plugin any more", place_of(&binding));
    Ok(())
}

const ADMISSION: &str = "admission";
const AUTOSCALER: &str = "autoscaler";

/// Where a binding's plugin decides, for people.
pub(super) fn place_of(binding: &Value) -> String {
    match text(&binding["spec"]["role"]) {
        ADMISSION => format!("admission as {}", text(&binding["metadata"]["name"])),
        AUTOSCALER => format!("autoscaling profile {}", text(&binding["spec"]["profile"])),
        _ => format!("profile {}", text(&binding["spec"]["profile"])),
    }
}

/// Where a plugin decides when nobody says: the profile of what names none, and for admission a place of its own.
fn usual_place(role: &str, plugin: &str) -> String {
    match role {
        ADMISSION => plugin.to_owned(),
        AUTOSCALER => "default".to_owned(),
        _ => "default-scheduler".to_owned(),
    }
}

/// The role that the server has found a plugin's component to have; one that was just installed is waited for.
async fn role_of(client: &Client, name: &str) -> anyhow::Result<String> {
    let end = Instant::now() + SWAP_WAIT_MAX;
    loop {
        let plugin = client.get(PLUGINS, "", name).await?;
        let is_seen = plugin["status"]["digest"] == plugin["spec"]["digest"];
        if let Some(role) = plugin["status"]["role"].as_str().filter(|_| is_seen) {
            return Ok(role.to_owned());
        }
        let is_unusable = is_seen && plugin["status"]["phase"] == "Failed";
        if is_unusable || plugin["spec"]["digest"].is_null() || Instant::now() > end {
            bail!("plugin {name} cannot be bound: {}", text(&plugin["status"]["conditions"][0]["message"]));
        }
        tokio::time::sleep(SWAP_POLL).await;
    }
}

async fn bound(client: &Client, role: &str, place: &str) -> anyhow::Result<Option<Value>> {
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    Ok(bindings.items.into_iter().find(|b| b["spec"]["role"] == role && is_of(b, place)))
}

/// The binding of a place, whatever its role.
async fn named(client: &Client, place: &str) -> anyhow::Result<Option<Value>> {
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    let mut found = bindings.items.into_iter().filter(|b| is_of(b, place) || b["metadata"]["name"] == place);
    let first = found.next();
    if let (Some(first), Some(other)) = (&first, found.next()) {
        let (one, another) = (text(&first["metadata"]["name"]), text(&other["metadata"]["name"]));
        bail!("{place} is a place of {one} and of {another}; say which binding");
    }
    Ok(first)
}

fn is_of(binding: &Value, place: &str) -> bool {
    let of = if binding["spec"]["role"] == ADMISSION {
        &binding["metadata"]["name"]
    } else {
        &binding["spec"]["profile"]
    };
    of == place
}

/// Waits for what comes of a change, and says it.
async fn tell(client: &Client, plugin: &str, binding: Value) -> anyhow::Result<()> {
    let place = place_of(&binding);
    match outcome(client, plugin, binding).await? {
        Swap::Serves => println!("{place} is served by plugin {plugin}"),
        Swap::Pending => {
            println!("{place} will be served by plugin {plugin} when it is ready; see `berth plugin ls`");
        }
        Swap::Refused { why, serving } => {
            let serving = serving.map_or_else(
                || format!("no plugin serves {place}"),
                |serving| format!("plugin {serving} goes on serving {place}"),
            );
            bail!("{why}; {serving}")
        }
    }
    Ok(())
}

/// What has come of a swap.
#[derive(Debug, PartialEq, Eq)]
enum Swap {
    /// The plugin serves.
    Serves,
    /// Nothing yet.
    Pending,
    /// The plugin does not serve.
    Refused {
        why: String,
        /// What does.
        serving: Option<String>,
    },
}

/// Waits until the binding's status tells what came of its last change, but not for ever: compiling a large component
/// takes its time, and goes on without anybody waiting.
async fn outcome(client: &Client, plugin: &str, binding: Value) -> anyhow::Result<Swap> {
    let name = text(&binding["metadata"]["name"]).to_owned();
    let end = Instant::now() + SWAP_WAIT_MAX;
    let mut before = Swap::Pending;
    loop {
        let plugin = client.get(PLUGINS, "", plugin).await?;
        let swap = read(&plugin, &client.get(BINDINGS, "", &name).await?);
        // The two are written one after the other: what is told twice was not read in between.
        if (swap != Swap::Pending && swap == before) || Instant::now() > end {
            return Ok(swap);
        }
        before = swap;
        tokio::time::sleep(SWAP_POLL).await;
    }
}

/// What has come of a swap, as far as the statuses are about the present plugin and binding.
fn read(plugin: &Value, binding: &Value) -> Swap {
    let (digest, status) = (&plugin["spec"]["digest"], &binding["status"]);
    let is_old = |object: &Value| object["status"]["observedGeneration"] != object["metadata"]["generation"];
    if is_old(binding) || (digest.is_string() && plugin["status"]["digest"] != *digest) {
        return Swap::Pending;
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    match conditions.iter().find(|condition| condition["type"] == "Active") {
        Some(active) if active["status"] == "True" && status["activeDigest"] == *digest => Swap::Serves,
        Some(active) if active["status"] == "False" => Swap::Refused {
            why: text(&active["message"]).to_owned(),
            serving: status["activePlugin"].as_str().map(str::to_owned),
        },
        _ => Swap::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_swap() {
        let binding = |observed: u32, active: &str, message: &str| {
            json!({"metadata": {"generation": 2}, "status": {
                "observedGeneration": observed, "activePlugin": "old", "activeDigest": "sha256:1",
                "conditions": [{"type": "Active", "status": active, "message": message}],
            }})
        };
        let plugin =
            |digest: &str, loaded: &str| json!({"spec": {"digest": digest}, "status": {"digest": loaded}});
        let same = plugin("sha256:1", "sha256:1");
        assert_eq!(read(&same, &json!({"metadata": {"generation": 1}})), Swap::Pending);
        assert_eq!(read(&same, &binding(1, "True", "")), Swap::Pending, "of the spec before");
        assert_eq!(read(&same, &binding(2, "True", "")), Swap::Serves);
        assert_eq!(read(&same, &binding(2, "Unknown", "it is being loaded")), Swap::Pending);
        let refused = Swap::Refused { why: "it traps".to_owned(), serving: Some("old".to_owned()) };
        assert_eq!(read(&same, &binding(2, "False", "it traps")), refused);
        for active in ["True", "False"] {
            let swap = read(&plugin("sha256:2", "sha256:1"), &binding(2, active, "it traps"));
            assert_eq!(swap, Swap::Pending, "of the component before");
        }
        let swap = read(&plugin("sha256:2", "sha256:2"), &binding(2, "True", ""));
        assert_eq!(swap, Swap::Pending, "the component before serves");
    }
}
