//! The plugins every cluster has: kept up with this binary's, and bound at the first start.

use anyhow::Context;
use berth_api::Reason;
use berth_cluster::Cluster;
use berth_control::Writer;
use berth_json::json;
use berth_pipeline::Request;
use berth_state::Key;
use bytes::Bytes;

const BUILTIN_LABEL: &str = "berth.dev/builtin";

struct Builtin {
    name: &'static str,
    description: &'static str,
    component: &'static [u8],
}

const BUILTINS: [Builtin; 10] = [
    Builtin {
        name: "spread",
        description: "Puts pods where most is free: the default of Kubernetes.",
        component: berth_plugins::SPREAD,
    },
    Builtin {
        name: "binpack",
        description: "Fills nodes up before it starts another: fewer nodes in use.",
        component: berth_plugins::BINPACK,
    },
    Builtin {
        name: "image-policy",
        description: "Refuses pods whose images come from elsewhere than allowed, or are named badly.",
        component: berth_plugins::IMAGE_POLICY,
    },
    Builtin {
        name: "label-policy",
        description: "Refuses objects without the labels they must have, and adds labels by default.",
        component: berth_plugins::LABEL_POLICY,
    },
    Builtin {
        name: "limits-defaulter",
        description: "Gives containers requests and limits that have none.",
        component: berth_plugins::LIMITS_DEFAULTER,
    },
    Builtin {
        name: "pod-security",
        description: "Refuses, warns of and notes pods by the Pod Security Standards, with defaults and exemptions.",
        component: berth_plugins::POD_SECURITY,
    },
    Builtin {
        name: "target-utilisation",
        description: "Scales workloads until their metrics are at their targets: the formula of Kubernetes.",
        component: berth_plugins::TARGET_UTILISATION,
    },
    Builtin {
        name: "predictive",
        description: "Scales workloads for what the last days and the present trend make expect.",
        component: berth_plugins::PREDICTIVE,
    },
    Builtin {
        name: "step",
        description: "Scales workloads by thresholds of a metric.",
        component: berth_plugins::STEP,
    },
    Builtin {
        name: "schedule",
        description: "Scales workloads by the time of the week.",
        component: berth_plugins::SCHEDULE,
    },
];

/// Makes the built-in plugins what this binary carries, and lets `spread` and `target-utilisation` serve the default profiles of
/// a cluster that does not have them yet.
pub(super) async fn install(cluster: &Cluster) -> anyhow::Result<()> {
    let writer = Writer::new("berth", cluster.catalogue());
    let mut new = Vec::new();
    for builtin in &BUILTINS {
        let digest = cluster.put_blob(Bytes::from_static(builtin.component)).await?;
        let key = Key::new("plugins.berth.dev", "", builtin.name);
        let present = cluster.read(|state| state.get(&key).cloned());
        let request = match present {
            None => {
                new.push(builtin.name);
                let labels = json!({BUILTIN_LABEL: "true"});
                let object = json!({
                    "metadata": {"name": builtin.name, "labels": labels},
                    "spec": {"digest": digest, "description": builtin.description},
                });
                writer.create("plugins.berth.dev", "", object)
            }
            Some(stored) => {
                // A plugin of the same name that somebody made is theirs.
                if stored.label(BUILTIN_LABEL) != Some("true")
                    || writer.value(&stored)["spec"]["digest"] == digest
                {
                    continue;
                }
                writer.merge(&key, "", &json!({"spec": {"digest": digest}}))
            }
        };
        apply(cluster, request, builtin.name).await?;
    }
    for (role, profile, plugin) in
        [("scheduler", "default-scheduler", "spread"), ("autoscaler", "default", "target-utilisation")]
    {
        if new.contains(&plugin) {
            let name = if role == "scheduler" { profile } else { "default-autoscaler" };
            let spec = json!({"role": role, "profile": profile, "plugin": plugin});
            let object = json!({"metadata": {"name": name}, "spec": spec});
            let request = writer.create("pluginbindings.berth.dev", "", object);
            apply(cluster, request, &format!("the binding of the default {role}")).await?;
        }
    }
    Ok(())
}

async fn apply(cluster: &Cluster, request: Request, what: &str) -> anyhow::Result<()> {
    match cluster.apply(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
        Err(status) => Err(status).with_context(|| format!("the built-in plugin {what} was not installed")),
    }
}
