//! The background thread: keeps spares ready and deletes the links of pods that are gone.
//!
//! A spare is a complete pod network that only a descriptor keeps alive: if berth dies, the kernel removes it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::addresses::Addresses;
use crate::host::{Bridge, netfilter_socket, netlink_error, route_socket};
use crate::link::{self, Veth};
use crate::ports::Held;
use crate::rules::{At, HostPorts};
use crate::{MacAddress, NetworkConfig, NetworkError, PodNetwork, netns, senders};

/// The pod's end of its link.
const POD_LINK: &str = "eth0";
/// How long the thread waits after a failure before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// A network without a pod.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) ip: Ipv4Addr,
    pub(crate) netns: OwnedFd,
}

/// A pod's network and its host ports.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) network: PodNetwork,
    /// The kernel's map of them, and what holds them on the machine.
    pub(crate) ports: HostPorts,
    pub(crate) held: BTreeMap<At, Held>,
}

impl Pod {
    pub(crate) fn new(network: PodNetwork) -> Pod {
        Pod { network, ports: HostPorts::new(), held: BTreeMap::new() }
    }
}

/// What attach, detach and the thread share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) addresses: Addresses,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) spares: VecDeque<Spare>,
    /// Spares being made right now, here or by an attach that found none.
    pub(crate) in_making: usize,
    /// Addresses of pods that are gone and whose links still have to be deleted; bounded by the range, since an address
    /// returns only after its link is gone.
    pub(crate) doomed: VecDeque<Ipv4Addr>,
    pub(crate) stop: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NetworkConfig,
    pub(crate) bridge: Bridge,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
}

impl Shared {
    /// The state; a panic elsewhere does not make it unusable, since every change to it is a single step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a complete network for `ip`, in about three milliseconds.
fn make(config: &NetworkConfig, bridge: Bridge, ip: Ipv4Addr) -> Result<Spare, NetworkError> {
    let made = netns::create().map_err(netlink_error("create a network namespace"))?;
    let host_name = config.link(ip);
    let veth = Veth {
        host_name: &host_name,
        bridge_index: bridge.index,
        mtu: bridge.mtu,
        pod_name: POD_LINK,
        pod_mac: MacAddress::of(ip),
        pod_netns: made.fd.as_fd(),
    };
    let host = route_socket()?;
    match link::create_veth(&host, &veth) {
        // The kernel may still be removing the spare of a process that died a moment ago.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            link::delete(&host, &host_name).and_then(|()| link::create_veth(&host, &veth))
        }
        result => result,
    }
    .and_then(|()| link::set_hairpin(&host, &host_name))
    .map_err(netlink_error(format!("create link {host_name}")))?;
    // The pod's end is down: nothing has been sent yet.
    senders::hold(&netfilter_socket()?, config, ip)
        .map_err(netlink_error(format!("hold link {host_name} to its addresses")))?;

    let configure = || -> io::Result<()> {
        let loopback = link::by_name(&made.socket, "lo")?.ok_or(io::ErrorKind::NotFound)?;
        link::set_up(&made.socket, loopback.index)?;
        let pod = link::by_name(&made.socket, POD_LINK)?.ok_or(io::ErrorKind::NotFound)?;
        link::set_up(&made.socket, pod.index)?;
        link::add_address(&made.socket, pod.index, ip, config.pod_cidr.prefix_len())?;
        link::add_default_route(&made.socket, pod.index, config.gateway())
    };
    configure().map_err(netlink_error(format!("configure the pod's end of link {host_name}")))?;
    Ok(Spare { ip, netns: made.fd })
}

/// What the thread does next.
enum Job {
    Make(Ipv4Addr),
    Delete(Ipv4Addr),
    Stop,
}

/// The thread's loop.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        let done = match next(shared) {
            Job::Stop => return,
            Job::Make(ip) => add_spare(shared, ip),
            Job::Delete(ip) => delete(shared, ip),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "pod network: background work failed, trying again");
            let state = shared.lock();
            // Only `stop` ends the pause early.
            let wait = shared.changed.wait_timeout_while(state, RETRY, |state| !state.stop);
            drop(wait);
        }
    }
}

/// Spares first: somebody may be about to wait for one, nobody waits for a deletion.
fn next(shared: &Shared) -> Job {
    let mut state = shared.lock();
    loop {
        if state.stop {
            return Job::Stop;
        }
        if state.spares.len() < shared.config.spare_count
            && let Some(ip) = state.addresses.take()
        {
            state.in_making += 1;
            return Job::Make(ip);
        }
        if let Some(ip) = state.doomed.front() {
            return Job::Delete(*ip);
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Makes a spare for a taken address; the caller has counted it in `in_making`.
pub(crate) fn add_spare(shared: &Shared, ip: Ipv4Addr) -> Result<(), NetworkError> {
    let made = make(&shared.config, shared.bridge, ip);
    let mut state = shared.lock();
    state.in_making -= 1;
    let added = match made {
        Ok(spare) => {
            state.spares.push_back(spare);
            Ok(())
        }
        Err(error) => state.addresses.release(ip).and(Err(error)),
    };
    drop(state);
    shared.changed.notify_all();
    added
}

fn delete(shared: &Shared, ip: Ipv4Addr) -> Result<(), NetworkError> {
    let name = shared.config.link(ip);
    link::delete(&route_socket()?, &name).map_err(netlink_error(format!("delete link {name}")))?;
    senders::release(&netfilter_socket()?, &shared.config, ip)
        .map_err(netlink_error(format!("delete the rules of link {name}")))?;
    let mut state = shared.lock();
    state.addresses.release(ip)?;
    state.doomed.retain(|doomed| *doomed != ip);
    drop(state);
    shared.changed.notify_all();
    Ok(())
}
