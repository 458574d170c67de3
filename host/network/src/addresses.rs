//! Which address belongs to which pod: symbolic links on disk, a cursor that keeps released addresses at rest.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::{NetworkConfig, NetworkError};

/// The link beside the addresses that points to the one taken last.
const LAST: &str = "last";

/// The node's addresses. Memory knows those held by pods, spares and links being deleted; disk knows the pods'.
#[derive(Debug)]
pub(crate) struct Addresses {
    dir: PathBuf,
    base: u32,
    /// Offsets from `base` to give out: behind the gateway, before the broadcast address.
    first: u32,
    end: u32,
    cursor: u32,
    held: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    /// Opens the directory; the second value lists what pods hold on disk, also outside the range.
    pub(crate) fn open(config: &NetworkConfig) -> Result<(Addresses, Vec<(Ipv4Addr, String)>), NetworkError> {
        let dir = config.addresses_dir();
        fs::create_dir_all(&dir).map_err(NetworkError::io("create", &dir))?;
        let mut on_disk = Vec::new();
        for entry in fs::read_dir(&dir).map_err(NetworkError::io("read", &dir))? {
            let path = entry.map_err(NetworkError::io("read", &dir))?.path();
            let address = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let uid = fs::read_link(&path).ok().and_then(|uid| uid.to_str().map(str::to_owned));
            if let (Some(address), Some(uid)) = (address, uid) {
                on_disk.push((address, uid));
            }
        }
        let cidr = config.pod_cidr;
        let (base, end) = (u32::from(cidr.base()), u32::try_from(cidr.len() - 1).unwrap_or(u32::MAX));
        let last: Option<Ipv4Addr> = fs::read_link(dir.join(LAST))
            .ok()
            .and_then(|last| last.to_str().and_then(|last| last.parse().ok()));
        let cursor = last.filter(|last| cidr.contains(*last)).map_or(1, |last| u32::from(last) - base);
        let held = on_disk.iter().map(|(address, _)| *address).collect();
        Ok((Addresses { dir, base, first: 2, end, cursor, held }, on_disk))
    }

    /// Takes the next free address after the one taken last, in memory only.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let span = self.end - self.first;
        let after =
            |step: u32| self.first + (self.cursor.max(self.first - 1) - (self.first - 1) + step) % span;
        let free = (0..span).map(after).find(|offset| !self.held.contains(&self.address(*offset)))?;
        self.cursor = free;
        let address = self.address(free);
        self.held.insert(address);
        Some(address)
    }

    /// How many are held.
    pub(crate) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Writes a taken address down as a pod's.
    pub(crate) fn assign(&self, address: Ipv4Addr, uid: &str) -> Result<(), NetworkError> {
        let path = self.dir.join(address.to_string());
        std::os::unix::fs::symlink(uid, &path).map_err(NetworkError::io("create", &path))?;
        let (last, next) = (self.dir.join(LAST), self.dir.join("last.new"));
        let _ = fs::remove_file(&next); // Left by a crash between the two calls below.
        // Where taking goes on, not this address: spares are taken long before they are assigned, and in another order.
        let taken_last = self.address(self.cursor).to_string();
        std::os::unix::fs::symlink(taken_last, &next).map_err(NetworkError::io("create", &next))?;
        fs::rename(&next, &last).map_err(NetworkError::io("replace", &last))
    }

    /// Gives an address back, on disk too.
    pub(crate) fn release(&mut self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let path = self.dir.join(address.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::io("remove", &path)(error))
            }
            _ => {
                self.held.remove(&address);
                Ok(())
            }
        }
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &std::path::Path) -> NetworkConfig {
        NetworkConfig {
            cluster_id: "1".parse().unwrap(),
            pod_cidr: "10.9.0.0/29".parse().unwrap(),
            api: None,
            data_dir: dir.into(),
            spare_count: 0,
        }
    }

    #[test]
    fn a_released_address_rests_until_the_others_were_used() {
        let dir = tempfile::tempdir().unwrap();
        let (mut addresses, _) = Addresses::open(&config(dir.path())).unwrap();
        let take = |addresses: &mut Addresses| addresses.take().map(|a| a.octets()[3]);
        assert_eq!([take(&mut addresses), take(&mut addresses)], [Some(2), Some(3)]);
        addresses.release("10.9.0.2".parse().unwrap()).unwrap();
        let rest: Vec<_> = (0..4).map(|_| take(&mut addresses)).collect();
        assert_eq!(rest, [Some(4), Some(5), Some(6), Some(2)], "2 comes last, 0, 1 and 7 never");
        assert_eq!(take(&mut addresses), None);
    }

    #[test]
    fn what_pods_hold_survives_and_the_cursor_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut addresses, _) = Addresses::open(&config(dir.path())).unwrap();
        let (a, b) = (addresses.take().unwrap(), addresses.take().unwrap());
        addresses.assign(b, "pod-b").unwrap();
        addresses.assign(a, "pod-a").unwrap();
        addresses.release(b).unwrap();
        let (mut reopened, on_disk) = Addresses::open(&config(dir.path())).unwrap();
        assert_eq!(on_disk, [(a, "pod-a".to_owned())]);
        assert_eq!(reopened.take().unwrap().octets()[3], 4, "b rests");
    }
}
