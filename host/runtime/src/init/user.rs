//! Who a process runs as, by the container's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use super::When;
use super::resolve::Root;
use crate::error::{StartError, StartErrorKind};
use crate::spec::User;

/// Largest user database that is read. It comes from the image, so it is not trusted to be short.
const DATABASE_BYTES_MAX: u64 = 4 << 20;

/// The greatest user or group number, as in runc. To the kernel the last of those beyond, 4294967295, means "leave it
/// as it is", which is root (CVE-2024-40635).
const ID_MAX: u32 = i32::MAX as u32;

/// Credentials by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// From `/etc/passwd`, else `/`.
    pub(super) home: String,
}

/// Looks a user up in the container that this process is in.
pub(super) fn resolve(user: &User) -> Result<Credentials, StartError> {
    let root = Root::current().when(StartErrorKind::Internal, || "open the container's root".into())?;
    let read = |path: &str| {
        let text = read_database(&root, Path::new(path));
        text.when(StartErrorKind::UserNotFound, || format!("read {path} of the container"))
    };
    resolve_in(user, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// A text file of the image; empty when there is none. A pipe or device in its place must not hold up the start.
fn read_database(root: &Root, path: &Path) -> io::Result<String> {
    let file = match root.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        // A file on the way where a directory should be: no database either.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    if SFlag::from_bits_truncate(fstat(file.as_fd())?.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(DATABASE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of passwd(5).
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// Name, number and members of each line of group(5).
fn group_entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

fn resolve_in(user: &User, passwd: &str, group: &str) -> Result<Credentials, StartError> {
    let (image_user, image_group) = match user.image_user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user.image_user.as_str(), None),
    };
    let (uid, entry) = match user.uid {
        Some(uid) => (uid, passwd_entries(passwd).find(|entry| entry.uid == uid)),
        None => find_user(image_user, passwd)?,
    };
    let gid = match (user.gid, user.uid, image_group) {
        (Some(gid), _, _) => gid,
        // The image's group belongs to the image's user.
        (None, None, Some(group_name)) if !group_name.is_empty() => find_group(group_name, group)?,
        _ => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    if user.must_not_be_root && uid == 0 {
        let message = "container has runAsNonRoot and image will run as root";
        return Err(StartError::new(StartErrorKind::RootRefused, message));
    }
    let mut groups = user.additional_gids.clone();
    if let Some(entry) = &entry {
        let member = |members: &str| members.split(',').any(|name| name == entry.name);
        groups.extend(group_entries(group).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid));
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    if let Some(id) = groups.iter().chain([&uid]).find(|id| **id > ID_MAX) {
        let message = format!("uids and gids must be in range 0-{ID_MAX}, not {id}");
        return Err(StartError::new(StartErrorKind::UserNotFound, message));
    }
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(Credentials { uid, gid, groups, home })
}

/// An empty name is root.
fn find_user<'a>(name: &str, passwd: &'a str) -> Result<(u32, Option<PasswdEntry<'a>>), StartError> {
    let name = if name.is_empty() { "0" } else { name };
    if let Some(entry) = passwd_entries(passwd).find(|entry| entry.name == name) {
        return Ok((entry.uid, Some(entry)));
    }
    match name.parse() {
        Ok(uid) => Ok((uid, passwd_entries(passwd).find(|entry| entry.uid == uid))),
        Err(_) => Err(StartError::new(
            StartErrorKind::UserNotFound,
            format!("unable to find user {name}: no matching entries in passwd file"),
        )),
    }
}

fn find_group(name: &str, group: &str) -> Result<u32, StartError> {
    if let Some((_, gid, _)) = group_entries(group).find(|(known, _, _)| *known == name) {
        return Ok(gid);
    }
    name.parse().map_err(|_| {
        StartError::new(
            StartErrorKind::UserNotFound,
            format!("unable to find group {name}: no matching entries in group file"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:33:44:www:/var/www:/bin/false\n\
                          broken line\n1000:x:7:7::/odd:/bin/sh\nhuge:x:4294967295:0::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww:x:44:\nlogs:x:55:web,other\ntape:x:26:other\n";

    /// `uid:gid:groups:home`, or the message.
    fn check(user: User) -> String {
        match resolve_in(&user, PASSWD, GROUP) {
            Ok(found) => format!("{}:{}:{:?}:{}", found.uid, found.gid, found.groups, found.home),
            Err(error) => error.message,
        }
    }

    fn image(image_user: &str) -> User {
        User { image_user: image_user.into(), ..User::default() }
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(check(image("")), "0:0:[0]:/root");
        assert_eq!(check(image("web")), "33:44:[44, 55]:/var/www");
        assert_eq!(check(image("33")), "33:44:[44, 55]:/var/www");
        assert_eq!(check(image("web:logs")), "33:55:[55]:/var/www");
        assert_eq!(check(image("4000:5000")), "4000:5000:[5000]:/");
        assert_eq!(check(image("1000")), "7:7:[7]:/odd", "a name that looks like a number comes first");
    }

    #[test]
    fn the_pod_spec_is_stronger_than_the_image() {
        let spec = User { uid: Some(33), ..image("root:root") };
        assert_eq!(check(spec.clone()), "33:44:[44, 55]:/var/www");
        let spec = User { gid: Some(9), additional_gids: vec![77, 9], ..spec };
        assert_eq!(check(spec), "33:9:[9, 55, 77]:/var/www");
    }

    #[test]
    fn unknown_names_and_root_are_refused() {
        assert_eq!(
            check(image("nobody2")),
            "unable to find user nobody2: no matching entries in passwd file"
        );
        assert_eq!(check(image("web:no")), "unable to find group no: no matching entries in group file");
        for user in ["4294967295", "4294967295:0", "0:4294967295", "huge"] {
            assert!(check(image(user)).starts_with("uids and gids must be in range 0-2147483647"), "{user}");
        }
        let refused = User { must_not_be_root: true, ..image("") };
        assert_eq!(check(refused), "container has runAsNonRoot and image will run as root");
    }
}
