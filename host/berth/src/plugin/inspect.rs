//! What a component is, wants and costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use berth_admission::Reviewer;
use berth_autoscale::Recommender;
use berth_client::{Client, ListOptions};
use berth_lifecycle::{LoadError, RoleName};
use berth_policy::{Component, Engine, Limits, StartError};
use berth_scheduler::OFFERED;
use berth_scheduler::policy::Policy;
use serde_json::Value;

use super::{BINDINGS, PLUGINS, swap, text};
use crate::compiler::Compiler;

/// Tells of a file. It is compiled as the server does it, and started without a configuration.
pub(super) fn file(path: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let size = bytes.len();
    let compiler = Compiler::new(Arc::new(Engine::new(None)?));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let begun = Instant::now();
    let loaded = runtime.block_on(compiler.load(bytes.into(), Limits::default()));
    let component = match loaded {
        Ok(component) => component,
        Err(LoadError::Refused(why) | LoadError::Machine(why)) => {
            bail!("{} is no policy that a cluster takes: {why}", path.display())
        }
    };
    let compiled = begun.elapsed();
    println!("{}: a valid {} policy", path.display(), component.role());
    line("digest", &format!("sha256:{}", component.digest()));
    line("size", &format!("{size} bytes"));
    line("compiled", &format!("in {} ms", compiled.as_millis()));
    match component.memory_at_start() {
        Ok(bytes) => line("memory", &format!("{} KiB when it has started", bytes / 1024)),
        Err(why) => line("memory", &why.to_string()),
    }
    line("exports", &component.exports().join(", "));
    line("imports", &component.imports().join(", "));
    match described(&component) {
        Ok(said) => line("says", &said),
        Err(why) => line("says", &format!("without a configuration: {why}")),
    }
    match component.config_schema() {
        Ok(schema) if !schema.is_empty() => println!("  takes the configuration\n{schema}"),
        Ok(_) => {}
        Err(why) => line("schema", &why.to_string()),
    }
    Ok(())
}

fn line(name: &str, value: &str) {
    println!("  {name:<10} {value}");
}

/// What it says of itself when it has no configuration.
fn described(component: &Component) -> Result<String, StartError> {
    Ok(match component.role() {
        RoleName::Scheduler => component.scheduler("inspect", b"", OFFERED)?.manifest().to_value(),
        RoleName::Admission => component.admission("inspect", b"")?.manifest().to_value(),
        RoleName::Autoscaler => component.autoscaler("inspect", b"")?.manifest().to_value(),
    }
    .to_string())
}

/// Tells of a plugin, and of the places where it decides.
pub(super) async fn plugin(client: &Client, name: &str) -> anyhow::Result<()> {
    let plugin = client.get(PLUGINS, "", name).await?;
    let (status, spec) = (&plugin["status"], &plugin["spec"]);
    println!("plugin {name}: {}", text(&status["conditions"][0]["message"]));
    line("role", text(&status["role"]));
    line("digest", text(&spec["digest"]));
    line("size", &format!("{} bytes", status["size"]));
    let limits = &spec["limits"];
    line(
        "limits",
        &format!("{} of memory, {} for a call", text(&limits["memory"]), text(&limits["deadline"])),
    );
    let bindings = client.list(BINDINGS, "", &ListOptions::default()).await?;
    let is_its = |b: &&Value| b["spec"]["plugin"] == name || b["status"]["activePlugin"] == name;
    for binding in bindings.items.iter().filter(is_its) {
        let status = &binding["status"];
        println!("  {} (pluginbinding/{})", swap::place_of(binding), text(&binding["metadata"]["name"]));
        for condition in status["conditions"].as_array().into_iter().flatten() {
            let (kind, is) = (text(&condition["type"]), text(&condition["status"]));
            let (since, message) = (text(&condition["lastTransitionTime"]), text(&condition["message"]));
            println!("    {kind}={is} since {since}: {message}");
        }
        println!(
            "    on failure {}, swapped {} times",
            text(&binding["spec"]["failurePolicy"]),
            status["swaps"]
        );
        if let Some(before) = status["lastGood"]["plugin"].as_str() {
            println!("    before it: {before} {}", text(&status["lastGood"]["digest"]));
        }
        if !status["manifest"].is_null() {
            println!("    says {}", status["manifest"]);
        }
    }
    Ok(())
}
