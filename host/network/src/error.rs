//! What can go wrong with the network, in one sentence each.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::{Ipv4Cidr, Protocol};

/// A network operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not an IPv4 range, or one that does not suit.
    #[error("invalid range {text:?}: {reason}")]
    InvalidCidr {
        /// What was given.
        text: String,
        /// Why it does not suit.
        reason: String,
    },
    /// Not a cluster id.
    #[error("invalid cluster id {text:?}: one to six lower-case hex digits are expected")]
    InvalidClusterId {
        /// What was given.
        text: String,
    },
    /// A pod uid that cannot be a file name.
    #[error("invalid pod uid {uid:?}: letters, digits, '-', '_' and '.' are expected, at most 128")]
    InvalidUid {
        /// What was given.
        uid: String,
    },
    /// The pod range is in use by somebody else on this machine.
    #[error("pod range {pod_cidr} overlaps {other} of {owner}; choose a free range with --pod-cidr")]
    CidrClash {
        /// The range asked for.
        pod_cidr: Ipv4Cidr,
        /// What it overlaps.
        other: Ipv4Cidr,
        /// Whose it is: a link's name, or a route.
        owner: String,
    },
    /// The data directory's pods have addresses outside the range now asked for.
    #[error(
        "pod {uid} has the address {address}, outside --pod-cidr {pod_cidr}; use the former range or remove the pods first"
    )]
    CidrChanged {
        /// The range asked for.
        pod_cidr: Ipv4Cidr,
        /// A pod of the former range.
        uid: String,
        /// Its address.
        address: Ipv4Addr,
    },
    /// No address is free.
    #[error(
        "no free address in pod range {pod_cidr}: {in_use} are in use; choose a larger range with --pod-cidr"
    )]
    Exhausted {
        /// The range.
        pod_cidr: Ipv4Cidr,
        /// How many addresses pods hold.
        in_use: usize,
    },
    /// A host port is taken by another pod.
    #[error("host port {port}/{protocol} is already in use by pod {uid}")]
    HostPortInUse {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Who has it.
        uid: String,
    },
    /// A host port is taken by a program of the machine.
    #[error(
        "host port {port}/{protocol} is already in use by {owner}; choose another hostPort, or free that one"
    )]
    HostPortTaken {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Who has it, as well as it can be known.
        owner: String,
    },
    /// A host port could not be kept from the machine's programs.
    #[error("cannot hold host port {port}/{protocol}: {source}")]
    HoldPort {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The system's answer.
        source: io::Error,
    },
    /// The pod has no network.
    #[error("pod {uid} has no network: attach it first")]
    NotAttached {
        /// The pod.
        uid: String,
    },
    /// The kernel refused a netlink request.
    #[error("cannot {action}: {source}")]
    Netlink {
        /// What was tried, with the object's name.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file-system or system call failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl NetworkError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> NetworkError {
        move |source| NetworkError::Io { action, path: path.into(), source }
    }
}
