//! `berth plugin`: policies over the API, as `kubectl` would do it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_client::{ApiResource, Client, Config, DeleteOptions, HttpsTransport, ListOptions, PatchKind};
use serde_json::{Value, json};

use crate::cli::{PluginCommand, PluginOptions};
use crate::data_dir;

const PLUGINS: ApiResource = ApiResource::PLUGINS;
const BINDINGS: ApiResource = ApiResource::PLUGIN_BINDINGS;

/// How long a swap is waited for: a policy is compiled and fed in well under a second unless the machine is very busy.
const SWAP_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often its status is looked at meanwhile.
const SWAP_POLL: Duration = Duration::from_millis(20);

/// Carries out a plugin command against the cluster of the data directory.
pub(crate) fn run(options: PluginOptions) -> anyhow::Result<()> {
    let data = data_dir::existing(&options.data.data_dir)?;
    let config = Config::from_kubeconfig(&data.join("kubeconfig"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(Arc::new(HttpsTransport::new(&config)?), "berth");
        match options.command {
            PluginCommand::Install { file, name } => install(&client, &file, name).await,
            PluginCommand::Ls => list(&client).await,
            PluginCommand::Swap { plugin, profile, config } => {
                swap(&client, &plugin, &profile, config.as_deref()).await
            }
            PluginCommand::Rm { plugin } => remove(&client, &plugin).await,
        }
    })
}

async fn install(client: &Client, file: &Path, name: Option<String>) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-").to_lowercase());
    let Some(name) = name.or(stem) else { bail!("{} has no name; give one with --name", file.display()) };
    let plugin = client.upload_component(&name, bytes.into()).await?;
    println!("plugin/{name} has the component {}", plugin["spec"]["digest"].as_str().unwrap_or("?"));
    Ok(())
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let plugins = client.list(PLUGINS, "", &ListOptions::default()).await?;
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    println!("{:<24} {:<8} {:<10} {:<20} SERVES", "NAME", "PHASE", "ROLE", "DIGEST");
    for plugin in &plugins.items {
        let name = text(&plugin["metadata"]["name"]);
        let serves =
            bindings.items.iter().filter(|b| b["status"]["activePlugin"] == plugin["metadata"]["name"]);
        let serves: Vec<String> = serves.map(|binding| served(plugin, binding)).collect();
        let digest = short(text(&plugin["spec"]["digest"]));
        let (phase, role) = (text(&plugin["status"]["phase"]), text(&plugin["status"]["role"]));
        println!("{name:<24} {phase:<8} {role:<10} {digest:<20} {}", serves.join(","));
        if let Some(message) = plugin["status"]["message"].as_str().filter(|message| !message.is_empty()) {
            println!("  {message}");
        }
    }
    Ok(())
}

/// The profile that a plugin serves, and the component that does, where the plugin has another one by now.
fn served(plugin: &Value, binding: &Value) -> String {
    let profile = text(&binding["spec"]["profile"]);
    match &binding["status"]["activeDigest"] {
        digest if *digest == plugin["spec"]["digest"] => profile.to_owned(),
        digest => format!("{profile} (still {})", short(text(digest))),
    }
}

/// As much of a digest as tells it from others in a table.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

async fn swap(client: &Client, plugin: &str, profile: &str, config: Option<&str>) -> anyhow::Result<()> {
    client.get(PLUGINS, "", plugin).await?;
    let config =
        config.map(|text| serde_json::from_str::<Value>(text).context("--config is not JSON")).transpose()?;
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    let found = bindings.items.iter().find(|b| b["spec"]["profile"] == profile);
    let binding = match found {
        Some(binding) => {
            let name = text(&binding["metadata"]["name"]);
            // Not merged: a key of the configuration before would become one of this plugin's.
            let patch = json!([
                {"op": "add", "path": "/spec/plugin", "value": plugin},
                {"op": "add", "path": "/spec/config", "value": config},
            ]);
            client.patch(BINDINGS, "", name, "", PatchKind::Json, &patch).await?
        }
        None => {
            let spec = json!({"role": "scheduler", "profile": profile, "plugin": plugin, "config": config});
            let binding = json!({
                "apiVersion": "berth.dev/v1alpha1", "kind": "PluginBinding",
                "metadata": {"name": profile}, "spec": spec,
            });
            client.create(BINDINGS, "", &binding).await?
        }
    };
    match outcome(client, plugin, binding).await? {
        Swap::Serves => println!("profile {profile} is served by plugin {plugin}"),
        Swap::Pending => println!(
            "profile {profile} will be served by plugin {plugin} when it is ready; see `berth plugin ls`"
        ),
        Swap::Refused { why, serving } => {
            let serving = serving.map_or_else(
                || format!("no plugin serves profile {profile}"),
                |serving| format!("plugin {serving} goes on serving profile {profile}"),
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

async fn remove(client: &Client, plugin: &str) -> anyhow::Result<()> {
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    let is_used = |b: &&Value| b["spec"]["plugin"] == plugin || b["status"]["activePlugin"] == plugin;
    if let Some(binding) = bindings.items.iter().find(is_used) {
        let (name, profile) = (text(&binding["metadata"]["name"]), text(&binding["spec"]["profile"]));
        bail!(
            "plugin {plugin} serves profile {profile} (pluginbinding/{name}); swap that profile to another plugin first"
        );
    }
    client.delete(PLUGINS, "", plugin, &DeleteOptions::default()).await?;
    println!("plugin/{plugin} is removed");
    Ok(())
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

    #[test]
    fn the_component_that_serves_is_named_where_it_is_another() {
        let plugin = json!({"spec": {"digest": "sha256:0123456789abcdef"}});
        let binding = |digest: &str| json!({"spec": {"profile": "p"}, "status": {"activeDigest": digest}});
        assert_eq!(served(&plugin, &binding("sha256:0123456789abcdef")), "p");
        assert_eq!(served(&plugin, &binding("sha256:fedcba9876543210")), "p (still sha256:fedcba987654)");
    }
}
