//! `berth plugin`: policies over the API, as `kubectl` would do it.

mod inspect;
mod swap;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use berth_client::{ApiResource, Client, Config, DeleteOptions, HttpsTransport, ListOptions};
use serde_json::Value;

use crate::cli::{PluginCommand, PluginOptions};
use crate::data_dir;

const PLUGINS: ApiResource = ApiResource::PLUGINS;
const BINDINGS: ApiResource = ApiResource::PLUGIN_BINDINGS;

/// Carries out a plugin command against the cluster of the data directory.
pub(crate) fn run(options: PluginOptions) -> anyhow::Result<()> {
    if let PluginCommand::Inspect { what } = &options.command
        && Path::new(what).is_file()
    {
        return inspect::file(Path::new(what));
    }
    let data = data_dir::existing(&options.data.data_dir)?;
    let config = Config::from_kubeconfig(&data.join("kubeconfig"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(Arc::new(HttpsTransport::new(&config)?), "berth");
        match options.command {
            PluginCommand::Install { file, name } => install(&client, &file, name).await,
            PluginCommand::Ls => list(&client).await,
            PluginCommand::Inspect { what } => inspect::plugin(&client, &what).await,
            PluginCommand::Swap(options) => swap::swap(&client, options).await,
            PluginCommand::Rollback { place } => swap::roll_back(&client, &place).await,
            PluginCommand::Unbind { place } => swap::unbind(&client, &place).await,
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

/// Where a plugin decides, and the component that does, where the plugin has another one by now.
fn served(plugin: &Value, binding: &Value) -> String {
    let place = swap::place_of(binding);
    match &binding["status"]["activeDigest"] {
        digest if *digest == plugin["spec"]["digest"] => place,
        digest => format!("{place} (still {})", short(text(digest))),
    }
}

/// As much of a digest as tells it from others in a table.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

async fn remove(client: &Client, plugin: &str) -> anyhow::Result<()> {
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    let is_used = |b: &&Value| b["spec"]["plugin"] == plugin || b["status"]["activePlugin"] == plugin;
    if let Some(binding) = bindings.items.iter().find(is_used) {
        let (name, place) = (text(&binding["metadata"]["name"]), swap::place_of(binding));
        bail!(
            "plugin {plugin} serves {place} (pluginbinding/{name}); swap that to another plugin, or \
             `berth plugin unbind {name}`"
        );
    }
    client.delete(PLUGINS, "", plugin, &DeleteOptions::default()).await?;
    println!("plugin/{plugin} is removed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_component_that_serves_is_named_where_it_is_another() {
        let plugin = json!({"spec": {"digest": "sha256:0123456789abcdef"}});
        let binding = |digest: &str| json!({"spec": {"role": "scheduler", "profile": "p"}, "status": {"activeDigest": digest}});
        assert_eq!(served(&plugin, &binding("sha256:0123456789abcdef")), "profile p");
        assert_eq!(
            served(&plugin, &binding("sha256:fedcba9876543210")),
            "profile p (still sha256:fedcba987654)"
        );
    }
}
