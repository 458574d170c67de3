//! Which connections are taken: few for one address, and some kept for those who put things right. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections at a time: each costs some 50 KiB, and every node and every watching client needs one.
pub(super) const CONNECTIONS_MAX: usize = 10_000;
/// Of these for one address: a node with all its pods' clients behind one address, or a gateway, needs some hundred.
const CONNECTIONS_OF_ONE: usize = 1000;
/// Of these for this machine itself, where the agent's neighbours, administrators and whoever attacks from a shell are.
const CONNECTIONS_OF_LOOPBACK: usize = 5000;
/// The last ones are for loopback, and for administrators, whose certificate tells them only after the handshake.
const RESERVED: usize = 500;

/// Who is connected.
#[derive(Debug, Default)]
pub(super) struct Slots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection. Free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
    /// Whether it is one of the reserved: only an administrator may keep it.
    pub(super) is_reserved: bool,
}

impl Slots {
    /// A slot for a connection from `address`; `None` when there is none for it.
    pub(super) fn take(&self, address: IpAddr) -> Option<Slot> {
        let address = network_of(address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = taken.all >= CONNECTIONS_MAX - RESERVED;
        let most = if address.is_loopback() { CONNECTIONS_OF_LOOPBACK } else { CONNECTIONS_OF_ONE };
        let own = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all >= CONNECTIONS_MAX || own >= most {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, own + 1);
        let is_reserved = is_late && !address.is_loopback();
        Some(Slot { taken: self.0.clone(), address, is_reserved })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(own) = taken.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// Whoever has one IPv6 address usually has all of its /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn take(slots: &Slots, from: &str, count: usize) -> Vec<Slot> {
        (0..count).map_while(|_| slots.take(address(from))).collect()
    }

    #[test]
    fn one_address_does_not_take_all() {
        let slots = Slots::default();
        let crowd = take(&slots, "10.0.0.1", CONNECTIONS_MAX);
        assert_eq!(crowd.len(), CONNECTIONS_OF_ONE);
        assert!(slots.take(address("10.0.0.2")).is_some_and(|slot| !slot.is_reserved));
        assert!(slots.take(address("::ffff:10.0.0.1")).is_none(), "it is the same address");
        drop(crowd);
        assert!(slots.take(address("10.0.0.1")).is_some());
        assert!(slots.0.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn a_crowd_of_addresses_leaves_the_reserve() {
        let slots = Slots::default();
        let crowd: Vec<Slot> = (0..CONNECTIONS_MAX - RESERVED)
            .map(|at| slots.take(address(&format!("10.0.{}.{}", at / 250, at % 250))).unwrap())
            .collect();
        assert!(crowd.iter().all(|slot| !slot.is_reserved));
        assert!(slots.take(address("10.9.9.9")).unwrap().is_reserved);
        assert!(!slots.take(address("127.0.0.1")).unwrap().is_reserved);
        assert!(!slots.take(address("::1")).unwrap().is_reserved);
        let last = take(&slots, "127.0.0.1", RESERVED + 1);
        assert_eq!(last.len(), RESERVED);
        assert!(slots.take(address("127.0.0.1")).is_none());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let slots = Slots::default();
        let crowd: Vec<Slot> =
            (0..2000).map_while(|at| slots.take(address(&format!("2001:db8::{at:x}")))).collect();
        assert_eq!(crowd.len(), CONNECTIONS_OF_ONE);
        assert!(slots.take(address("2001:db8:0:1::1")).is_some());
    }
}
