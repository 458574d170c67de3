//! What the machine and the containers on it have used so far.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use berth_client::NodeError;
use berth_metrics::{ContainerSample, NodeSample, PodSample};
use berth_runtime::PodHandle;

use crate::clock::Moment;
use crate::manifest::Pod;
use crate::pod::workers::Workers;

/// A pod with containers that run: how to ask for it, and name and id of each.
pub(crate) struct Measured {
    pod: Arc<Pod>,
    ip: IpAddr,
    handle: PodHandle,
    containers: Vec<(String, String)>,
}

/// The pods that have containers running now, on a node of this address.
pub(crate) fn running(workers: &Workers, node_ip: IpAddr) -> Vec<Measured> {
    workers.with(|workers| {
        let views = workers.values().map(|worker| worker.view.borrow());
        let measured = views.filter_map(|view| {
            let records = view.observed.containers.iter();
            let running =
                records.filter_map(|(name, record)| Some((name.clone(), record.running()?.id.clone())));
            let containers: Vec<_> = running.collect();
            let (pod, ip) = (view.pod.clone(), view.observed.ip.map_or(node_ip, IpAddr::V4));
            (!containers.is_empty()).then_some(Measured { pod, ip, handle: view.handle.clone()?, containers })
        });
        measured.collect()
    })
}

/// Reads the figures of these pods, four files for each container, and of the machine.
pub(crate) fn read(pods: &[Measured]) -> Result<NodeSample, NodeError> {
    let pods = pods.iter().map(Measured::read).filter(|pod| !pod.containers.is_empty()).collect();
    let file = |path: &str| {
        fs::read_to_string(path)
            .map_err(|error| NodeError::Internal(format!("{path} cannot be read: {error}")))
    };
    let (stat, meminfo) = (file("/proc/stat")?, file("/proc/meminfo")?);
    let moment_micros = Moment::now().micros();
    let unknown =
        |path: &str| NodeError::Internal(format!("{path} does not have the form that Linux gives it"));
    Ok(NodeSample {
        moment_micros,
        cpu_nanos: cpu_nanos(&stat).ok_or_else(|| unknown("/proc/stat"))?,
        memory_bytes: working_set(&meminfo).ok_or_else(|| unknown("/proc/meminfo"))?,
        pods,
    })
}

impl Measured {
    /// The pod, and where it can be asked.
    pub(crate) fn page(&self) -> (Arc<Pod>, IpAddr) {
        (self.pod.clone(), self.ip)
    }

    fn read(&self) -> PodSample {
        let moment_micros = Moment::now().micros();
        let container = |(name, id): &(String, String)| {
            // One that has ended meanwhile has no group any more.
            let usage = self.handle.container_usage(id).ok()?;
            Some(ContainerSample {
                name: name.clone(),
                instance: id.clone(),
                cpu_nanos: usage.cpu_usage_ns,
                memory_bytes: usage.memory_working_set_bytes,
            })
        };
        PodSample {
            uid: self.pod.uid().to_owned(),
            moment_micros,
            containers: self.containers.iter().filter_map(container).collect(),
            ..PodSample::default()
        }
    }
}

/// The time that all processors together have worked since the machine's start: not what they idled,
/// waited for a disk, or had to leave to other machines of the same host. What guests had is in `user` and `nice` already.
fn cpu_nanos(stat: &str) -> Option<u64> {
    /// `USER_HZ`: what the kernel counts in there, on all machines that Berth runs on.
    const TICK_NANOS: u64 = 10_000_000;
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map_while(|text| text.parse().ok())
        .collect();
    let [user, nice, system, _idle, _wait, irq, soft_irq, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + soft_irq).saturating_mul(TICK_NANOS))
}

/// What is in use and not only kept of files that were read and not looked at for long: as the kubelet counts it.
fn working_set(meminfo: &str) -> Option<u64> {
    let bytes = |name: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
    };
    let used = bytes("MemTotal")?.saturating_sub(bytes("MemFree")?);
    Some(used.saturating_sub(bytes("Inactive(file)")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_used_what_it_did_not_idle() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n";
        for (text, nanos) in [
            (stat, Some(1_630_000_000)),
            ("cpu  1 2 3", None),
            ("cpu0 1 2 3 4 5 6 7 8", None),
            ("cpu  1 2 x 4 5 6 7 8", None),
            ("", None),
        ] {
            assert_eq!(cpu_nanos(text), nanos, "{text}");
        }
    }

    #[test]
    fn old_pages_of_files_are_not_in_the_working_set() {
        let meminfo = |free: &str| {
            format!(
                "MemTotal:    8000 kB\nMemFree:     {free}\nCached: 900 kB\nInactive:   700 kB\nInactive(anon):   200 kB\n\
                 Inactive(file):   500 kB\nHugePages_Total:       0\n"
            )
        };
        assert_eq!(working_set(&meminfo("1500 kB")), Some(6000 << 10));
        assert_eq!(working_set(&meminfo("9000 kB")), Some(0));
        assert_eq!(working_set(&meminfo("lots")), None);
        assert_eq!(working_set("MemTotal: 1 kB\n"), None);
    }
}
