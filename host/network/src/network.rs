//! The node's network: open, attach, detach, adopt, collect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::addresses::Addresses;
use crate::host::{self, Bridge, netlink_error};
use crate::netlink::Socket;
use crate::rules::{self, HostPorts};
use crate::worker::{self, Pod, Shared, Spare, State};
use crate::{
    Adoption, HostPort, MacAddress, NetworkConfig, NetworkError, PodNetwork, link, netns, ports, senders,
};

/// The longest pod uid; Kubernetes' have 36 characters, static pods' 32.
const UID_CHARS_MAX: usize = 128;
/// How long [`Network::attach`] waits for an address whose link is just being deleted.
const ADDRESS_WAIT: Duration = Duration::from_secs(2);

/// The node's pod network. Dropping it leaves the attached pods' networks alone.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Sets up bridge, forwarding and masquerade, loads what an earlier process attached, and starts making spares.
    ///
    /// Fails with [`NetworkError::CidrClash`] when the pod range overlaps an address or route of somebody else.
    /// Switches `net.ipv4.ip_forward` on (and never off: others may rely on it).
    pub fn open(config: NetworkConfig) -> Result<Network, NetworkError> {
        config.pod_cidr.check_size()?;
        let netns_dir = config.netns_dir();
        fs::create_dir_all(&netns_dir).map_err(NetworkError::io("create", netns_dir))?;
        let socket = host::route_socket()?;
        host::check_clash(&socket, config.pod_cidr, Some(&config.bridge()))?;
        let (mut addresses, on_disk) = Addresses::open(&config)?;
        let mut pods = load(&socket, &config, &mut addresses, on_disk)?;
        let bridge = host::set_up_bridge(&socket, &config)?;
        sweep(&socket, &config, bridge, &pods)?;
        restore_rules(&config, &mut pods)?;
        senders::install(&host::netfilter_socket()?, &config, pods.values().map(|pod| pod.network.ip))
            .map_err(netlink_error(format!("install nftables table netdev {}", config.table())))?;

        let state = State {
            addresses,
            pods,
            spares: VecDeque::new(),
            in_making: 0,
            doomed: VecDeque::new(),
            stop: false,
        };
        let shared = Arc::new(Shared { config, bridge, state: Mutex::new(state), changed: Condvar::new() });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("berth-network".into())
            .spawn(move || worker::run(&worker))
            .map_err(NetworkError::io("start", PathBuf::from("thread berth-network")))?;
        Ok(Network { shared, thread: Some(thread) })
    }

    /// The configuration.
    pub fn config(&self) -> &NetworkConfig {
        &self.shared.config
    }

    /// Gives a pod its network. A pod that has one keeps it: asking twice is safe.
    pub fn attach(&self, pod_uid: &str) -> Result<PodNetwork, NetworkError> {
        check_uid(pod_uid)?;
        let deadline = Instant::now() + ADDRESS_WAIT;
        let mut state = self.shared.lock();
        loop {
            if let Some(pod) = state.pods.get(pod_uid) {
                return Ok(pod.network.clone());
            }
            if let Some(spare) = state.spares.pop_front() {
                let network = self.assign_spare(&mut state, pod_uid, spare);
                drop(state);
                self.shared.changed.notify_all();
                return network;
            }
            state = match state.addresses.take() {
                // Others may attach meanwhile, even the same pod: the spare goes to whoever comes first.
                Some(ip) => self.make_spare(state, ip)?,
                None => self.wait_for_address(state, deadline)?,
            };
        }
    }

    /// Makes a network with the lock released.
    fn make_spare<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        ip: Ipv4Addr,
    ) -> Result<MutexGuard<'a, State>, NetworkError> {
        state.in_making += 1;
        drop(state);
        worker::add_spare(&self.shared, ip)?;
        Ok(self.shared.lock())
    }

    /// Turns a spare into the pod's network: written down first, so that a crash leaves nothing unknown.
    fn assign_spare(&self, state: &mut State, uid: &str, spare: Spare) -> Result<PodNetwork, NetworkError> {
        let network = describe(&self.shared.config, uid, spare.ip);
        let path = &network.netns_path;
        let given = state.addresses.assign(spare.ip, uid).and_then(|()| {
            netns::pin(spare.netns.as_fd(), path).map_err(NetworkError::io("mount a namespace at", path))
        });
        if let Err(error) = given {
            state.doomed.push_back(spare.ip);
            return Err(error);
        }
        state.pods.insert(uid.to_owned(), Pod::new(network.clone()));
        Ok(network)
    }

    /// All addresses are held: waits for a spare being made or a link being deleted, and gives up when there is neither.
    fn wait_for_address<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, State>, NetworkError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || (state.doomed.is_empty() && state.in_making == 0) {
            let (pod_cidr, in_use) = (self.shared.config.pod_cidr, state.addresses.held_count());
            return Err(NetworkError::Exhausted { pod_cidr, in_use });
        }
        Ok(self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The network of an attached pod.
    pub fn get(&self, pod_uid: &str) -> Option<PodNetwork> {
        self.shared.lock().pods.get(pod_uid).map(|pod| pod.network.clone())
    }

    /// Takes a pod's network away; the link is deleted in the background, and the address rests before it is given out
    /// again. A pod without one is fine.
    pub fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        self.set_ports(pod_uid, &[])?;
        let mut state = self.shared.lock();
        let Some(pod) = state.pods.get(pod_uid) else {
            return Ok(());
        };
        let (path, ip) = (pod.network.netns_path.clone(), pod.network.ip);
        netns::unpin(&path).map_err(NetworkError::io("unmount", path))?;
        state.pods.remove(pod_uid);
        state.doomed.push_back(ip);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// After a restart: which of these pods still have their network.
    pub fn adopt(&self, pod_uids: &BTreeSet<String>) -> Adoption {
        let state = self.shared.lock();
        let mut adoption = Adoption::default();
        for uid in pod_uids {
            match state.pods.get(uid) {
                Some(pod) => _ = adoption.adopted.insert(uid.clone(), pod.network.clone()),
                None => adoption.lost.push(uid.clone()),
            }
        }
        adoption
    }

    /// Detaches every pod that is not in `keep`; returns their uids.
    pub fn gc(&self, keep: &BTreeSet<String>) -> Result<Vec<String>, NetworkError> {
        let gone: Vec<String> =
            self.shared.lock().pods.keys().filter(|uid| !keep.contains(*uid)).cloned().collect();
        for uid in &gone {
            self.detach(uid)?;
        }
        Ok(gone)
    }

    /// Makes ports of the node lead to an attached pod, replacing the ones it had; `detach` removes them. They live in the
    /// kernel and so survive a restart of berth; asked for again after one, it fails if a program took one meanwhile.
    ///
    /// Fails with [`NetworkError::HostPortTaken`] for a port that a program of the machine has.
    pub fn set_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        if self.set_ports(pod_uid, ports)? {
            return Ok(());
        }
        Err(NetworkError::NotAttached { uid: pod_uid.to_owned() })
    }

    /// Whether the pod is attached; its ports are then as asked.
    fn set_ports(&self, uid: &str, ports: &[HostPort]) -> Result<bool, NetworkError> {
        let config = &self.shared.config;
        let mut state = self.shared.lock();
        let Some(pod) = state.pods.get(uid) else {
            return Ok(false);
        };
        let wanted = rules::entries(pod.network.ip, ports);
        if pod.ports == wanted {
            return Ok(true);
        }
        for at in wanted.keys() {
            let taken = |pod: &Pod| pod.ports.keys().any(|other| other.clashes(at));
            if let Some((other, _)) = state.pods.iter().find(|(other, pod)| *other != uid && taken(pod)) {
                let (port, protocol, uid) = (at.port, at.protocol, other.clone());
                return Err(NetworkError::HostPortInUse { port, protocol, uid });
            }
        }
        let new = ports::hold_new(config, pod, &wanted)?;
        let socket = host::netfilter_socket()?;
        match rules::change_host_ports(&socket, config, &pod.ports, &wanted) {
            // Somebody else has changed the maps, or removed them: they are made anew.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST | libc::EBUSY)) => {
                tracing::warn!(
                    table = config.table(),
                    "rules of pods' host ports were changed by somebody else: they are installed anew"
                );
                let others = state.pods.iter().filter(|(other, _)| *other != uid);
                let others = others.flat_map(|(_, pod)| pod.ports.clone());
                host::install_rules(config, &others.chain(wanted.clone()).collect())?;
            }
            changed => changed.map_err(netlink_error(format!("set the host ports of pod {uid}")))?,
        }
        if let Some(pod) = state.pods.get_mut(uid) {
            pod.held.retain(|at, _| wanted.contains_key(at));
            pod.held.extend(new);
            pod.ports = wanted;
        }
        Ok(true)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic of the thread was printed when it happened.
        }
    }
}

fn check_uid(uid: &str) -> Result<(), NetworkError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if uid.is_empty() || uid.len() > UID_CHARS_MAX || uid.starts_with('.') || !uid.bytes().all(allowed) {
        return Err(NetworkError::InvalidUid { uid: uid.to_owned() });
    }
    Ok(())
}

fn describe(config: &NetworkConfig, uid: &str, ip: Ipv4Addr) -> PodNetwork {
    PodNetwork {
        uid: uid.to_owned(),
        netns_path: config.netns_dir().join(uid),
        ip,
        prefix_len: config.pod_cidr.prefix_len(),
        mac: MacAddress::of(ip),
        gateway: config.gateway(),
    }
}

/// The pods an earlier process attached and whose namespace and link still exist; releases the addresses of the others.
fn load(
    socket: &Socket,
    config: &NetworkConfig,
    addresses: &mut Addresses,
    on_disk: Vec<(Ipv4Addr, String)>,
) -> Result<BTreeMap<String, Pod>, NetworkError> {
    let links = link::list(socket).map_err(netlink_error("list links"))?;
    let mut pods = BTreeMap::new();
    for (address, uid) in on_disk {
        let network = describe(config, &uid, address);
        let linked = links.iter().any(|link| link.name == config.link(address));
        if check_uid(&uid).is_err() || !linked || !netns::is_pinned(&network.netns_path) {
            addresses.release(address)?;
        } else if !config.pod_cidr.contains(address) {
            return Err(NetworkError::CidrChanged { pod_cidr: config.pod_cidr, uid, address });
        } else {
            pods.insert(uid, Pod::new(network));
        }
    }
    Ok(pods)
}

/// Removes namespaces and links that belong to no pod, and puts the pods' links on the bridge (it may be a new one).
fn sweep(
    socket: &Socket,
    config: &NetworkConfig,
    bridge: Bridge,
    pods: &BTreeMap<String, Pod>,
) -> Result<(), NetworkError> {
    for path in host::files(&config.netns_dir())? {
        if !pods.values().any(|pod| pod.network.netns_path == path) {
            netns::unpin(&path).map_err(NetworkError::io("unmount", path))?;
        }
    }
    let names: BTreeSet<String> = pods.values().map(|pod| config.link(pod.network.ip)).collect();
    let links = link::list(socket).map_err(netlink_error("list links"))?;
    for link in links.iter().filter(|link| config.is_link(&link.name)) {
        let name = &link.name;
        if !names.contains(name) {
            link::delete(socket, name).map_err(netlink_error(format!("delete link {name}")))?;
        } else if link.master != Some(bridge.index) {
            let joined = link::set_master(socket, link.index, bridge.index)
                .and_then(|()| link::set_hairpin(socket, name));
            joined.map_err(netlink_error(format!("put link {name} on bridge {}", config.bridge())))?;
        }
    }
    Ok(())
}

/// Installs the rules anew, with the host ports that the kernel's map holds for pods that are still there.
fn restore_rules(config: &NetworkConfig, pods: &mut BTreeMap<String, Pod>) -> Result<(), NetworkError> {
    let socket = host::netfilter_socket()?;
    let kept = rules::host_ports(&socket, config);
    let kept =
        kept.map_err(netlink_error(format!("read the host ports of nftables table ip {}", config.table())))?;
    for (at, target) in kept {
        let Some((uid, pod)) = pods.iter_mut().find(|(_, pod)| pod.network.ip == target.0) else { continue };
        let entry = HostPorts::from([(at, target)]);
        match ports::hold_new(config, pod, &entry) {
            Ok(held) => {
                pod.held.extend(held);
                pod.ports.extend(entry);
            }
            // Whoever took it while berth did not run keeps it. The pod is told when it asks for its ports again.
            Err(error) => tracing::warn!(uid, %error, "a pod has lost a host port"),
        }
    }
    let ports = pods.values().flat_map(|pod| pod.ports.clone()).collect();
    host::install_rules(config, &ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_uids_become_file_names() {
        for (uid, fits) in [
            ("7d7c0f2e-8a9b", true),
            ("a.b_c", true),
            ("", false),
            ("../x", false),
            (".", false),
            ("a/b", false),
        ] {
            assert_eq!(check_uid(uid).is_ok(), fits, "{uid:?}");
        }
    }
}
