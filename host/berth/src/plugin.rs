//! `berth plugin`: policies over the API, as `kubectl` would do it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use berth_client::{ApiResource, Client, Config, DeleteOptions, HttpsTransport, ListOptions, PatchKind};
use serde_json::{Value, json};

use crate::cli::{PluginCommand, PluginOptions};
use crate::data_dir;

const PLUGINS: ApiResource = ApiResource::PLUGINS;
const BINDINGS: ApiResource = ApiResource::PLUGIN_BINDINGS;

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
        let serves: Vec<&str> = serves.map(|b| text(&b["spec"]["profile"])).collect();
        let digest = text(&plugin["spec"]["digest"]);
        let (phase, role) = (text(&plugin["status"]["phase"]), text(&plugin["status"]["role"]));
        let digest = digest.get(..19).unwrap_or(digest);
        println!("{name:<24} {phase:<8} {role:<10} {digest:<20} {}", serves.join(","));
        if let Some(message) = plugin["status"]["message"].as_str().filter(|message| !message.is_empty()) {
            println!("  {message}");
        }
    }
    Ok(())
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
    match found {
        Some(binding) => {
            let name = text(&binding["metadata"]["name"]);
            let patch = json!({"spec": {"plugin": plugin, "config": config}});
            client.patch(BINDINGS, "", name, "", PatchKind::Merge, &patch).await?;
        }
        None => {
            let spec = json!({"role": "scheduler", "profile": profile, "plugin": plugin, "config": config});
            let binding = json!({
                "apiVersion": "berth.dev/v1alpha1", "kind": "PluginBinding",
                "metadata": {"name": profile}, "spec": spec,
            });
            client.create(BINDINGS, "", &binding).await?;
        }
    }
    println!("profile {profile} will be served by plugin {plugin}; see `berth plugin ls`");
    Ok(())
}

async fn remove(client: &Client, plugin: &str) -> anyhow::Result<()> {
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    if let Some(binding) = bindings.items.iter().find(|b| b["spec"]["plugin"] == plugin) {
        let (name, profile) = (text(&binding["metadata"]["name"]), text(&binding["spec"]["profile"]));
        bail!(
            "plugin {plugin} serves profile {profile} (pluginbinding/{name}); swap that profile to another plugin first"
        );
    }
    client.delete(PLUGINS, "", plugin, &DeleteOptions::default()).await?;
    println!("plugin/{plugin} is removed");
    Ok(())
}
