//! The mounts of a container: those every container has, and those it asks for.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, fstat};

use super::When;
use super::filesystem::{self, HARMLESS, Parameter};
use super::resolve::Root;
use crate::cgroups::Cgroups;
use crate::error::{StartError, StartErrorKind, describe};
use crate::spec::{ContainerSpec, Mount, MountSource, Propagation};
use crate::sys;

/// Mounts and unmounts in here no longer show on the machine; its own still show here, so that this namespace does
/// not keep alive what is unmounted there.
pub(super) fn detach_from_host() -> nix::Result<()> {
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
}

/// A requested mount whose source is in hand.
pub(super) struct Source<'a> {
    mount: &'a Mount,
    tree: OwnedFd,
    is_directory: bool,
}

/// Takes hold of the sources while the machine's file systems are still in view and still share their mounts.
pub(super) fn open_sources(mounts: &[Mount]) -> Result<Vec<Source<'_>>, StartError> {
    mounts.iter().map(open_source).collect()
}

fn open_source(mount: &Mount) -> Result<Source<'_>, StartError> {
    let (tree, is_directory) = match &mount.source {
        MountSource::Tmpfs { size_bytes, mode } => {
            let tree = tmpfs(*size_bytes, *mode).when(StartErrorKind::Mount, || {
                format!("make the file system in memory for {}", mount.destination.display())
            })?;
            (tree, true)
        }
        MountSource::ImageVolume { path } => {
            let volume = open_bind(path, None).and_then(|volume| sys::open_tree_clone(volume.as_fd()));
            let tree = volume.map_err(|error| bind_error(path, None, &mount.destination, &error))?;
            (tree, true)
        }
        MountSource::Bind { path, sub_path } => {
            let source = open_bind(path, sub_path.as_deref())
                .map_err(|error| bind_error(path, sub_path.as_deref(), &mount.destination, &error))?;
            if mount.propagation == Propagation::Bidirectional && !is_shared(&source) {
                let message = format!("path {} is mounted but it is not a shared mount", path.display());
                return Err(StartError::new(StartErrorKind::Mount, message));
            }
            let tree = sys::open_tree_clone(source.as_fd());
            let tree = tree.when(StartErrorKind::Mount, || format!("bind {}", path.display()))?;
            let status = fstat(&source).when(StartErrorKind::Mount, || format!("stat {}", path.display()))?;
            let is_directory = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
            (tree, is_directory)
        }
    };
    Ok(Source { mount, tree, is_directory })
}

fn bind_error(path: &Path, sub_path: Option<&Path>, destination: &Path, error: &io::Error) -> StartError {
    let (path, destination) = (path.display(), destination.display());
    let Some(sub_path) = sub_path else {
        let message = format!("mount {path} on {destination}: {}", describe(error));
        return StartError::new(StartErrorKind::Mount, message);
    };
    // How the kernel says that a path has left where it must stay.
    if error.raw_os_error() == Some(libc::EXDEV) {
        let message =
            format!("the subPath {sub_path:?} of the mount on {destination} leads out of its volume");
        return StartError::new(StartErrorKind::SubPath, message);
    }
    let message = format!("mount subPath {sub_path:?} of {path} on {destination}: {}", describe(error));
    StartError::new(StartErrorKind::Mount, message)
}

fn open_bind(path: &Path, sub_path: Option<&Path>) -> io::Result<OwnedFd> {
    let source = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    match sub_path {
        None => Ok(source),
        Some(sub_path) => {
            let volume = Root::volume(source);
            match volume.find(sub_path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_sub_path(&volume, sub_path),
                other => other,
            }
        }
    }
}

/// Makes it as the volume itself is: who may write there may write here, as the kubelet has it.
fn make_sub_path(volume: &Root, sub_path: &Path) -> io::Result<OwnedFd> {
    let made = volume.make_directory(sub_path)?;
    let mode = fstat(volume)?.st_mode & 0o7777;
    // A descriptor that is only a path takes no fchmod.
    let path = format!("/proc/self/fd/{}", made.as_raw_fd());
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(made)
}

/// Whether the mount that `file` is on has peers: mountinfo(5) says `shared:<group>` then.
fn is_shared(file: &OwnedFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap_or_default();
    let Some(id) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")) else { return false };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = table.lines().find(|line| line.split(' ').next() == Some(id.trim()));
    let optional = line.and_then(|line| line.split_once(" - ")).map(|(front, _)| front);
    optional.is_some_and(|front| front.split(' ').skip(6).any(|field| field.starts_with("shared:")))
}

fn tmpfs(size_bytes: Option<u64>, mode: u32) -> io::Result<OwnedFd> {
    let mode = format!("{mode:o}");
    let size = size_bytes.map(|size| size.to_string());
    let mut parameters = vec![Parameter::Value(c"mode", &mode)];
    parameters.extend(size.as_deref().map(|size| Parameter::Value(c"size", size)));
    filesystem::new(c"tmpfs", &parameters, sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV)
}

impl Source<'_> {
    /// Whether it is to hold what the image has in its place.
    pub(super) fn is_filled(&self) -> bool {
        matches!(self.mount.source, MountSource::ImageVolume { .. })
    }

    pub(super) fn destination(&self) -> &Path {
        &self.mount.destination
    }

    /// Its root directory, for working in it.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat(&self.tree, ".", flags, Mode::empty())?)
    }

    /// Puts it into the container.
    pub(super) fn attach(self, root: &Root) -> Result<(), StartError> {
        let destination = &self.mount.destination;
        let target =
            if self.is_directory { root.make_directory(destination) } else { root.make_file(destination) };
        let target = target
            .when(StartErrorKind::Mount, || format!("make the mount point {}", destination.display()))?;
        let propagation = match self.mount.propagation {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::HostToContainer => libc::MS_SLAVE,
            Propagation::Bidirectional => libc::MS_SHARED,
        };
        let read_only = if self.mount.read_only { sys::MOUNT_ATTR_RDONLY } else { 0 };
        sys::mount_setattr(self.tree.as_fd(), 0, propagation, true)
            .and_then(|()| sys::mount_setattr(self.tree.as_fd(), read_only, 0, false))
            .and_then(|()| sys::move_mount(self.tree.as_fd(), target.as_fd()))
            .when(StartErrorKind::Mount, || format!("mount on {}", destination.display()))
    }
}

/// What every container has.
pub(super) fn standard(root: &Root, spec: &ContainerSpec, shm: Option<&Path>) -> Result<(), StartError> {
    let sys_attributes = if spec.privileged { HARMLESS } else { HARMLESS | sys::MOUNT_ATTR_RDONLY };
    let dev = [Parameter::Value(c"mode", "755"), Parameter::Value(c"size", "65536k")];
    let pts = [
        Parameter::Value(c"mode", "0620"),
        Parameter::Value(c"ptmxmode", "0666"),
        Parameter::Value(c"gid", TTY_GROUP),
    ];
    mount_new(root, "/proc", filesystem::new(c"proc", &[], HARMLESS))?;
    mount_new(root, "/sys", filesystem::new(c"sysfs", &[], sys_attributes))?;
    mount_new(root, "/dev", filesystem::new(c"tmpfs", &dev, sys::MOUNT_ATTR_NOSUID))?;
    let no_programs = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NOEXEC;
    mount_new(root, "/dev/pts", filesystem::new(c"devpts", &pts, no_programs))?;
    match filesystem::new(c"mqueue", &[], HARMLESS) {
        // A kernel without POSIX message queues; Docker Desktop's and gVisor's have none either.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
        made => mount_new(root, "/dev/mqueue", made)?,
    }
    let shm = shm.unwrap_or(Path::new("/dev/shm"));
    let tree = open(shm, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|shm| sys::open_tree_clone(shm.as_fd()))
        .and_then(|tree| sys::mount_setattr(tree.as_fd(), 0, libc::MS_PRIVATE, true).map(|()| tree));
    mount_new(root, "/dev/shm", tree)
}

/// The group that owns terminals in nearly every distribution: `tty`.
const TTY_GROUP: &str = "5";

fn mount_new(root: &Root, path: &str, made: io::Result<OwnedFd>) -> Result<(), StartError> {
    let place = || {
        let tree = made?;
        let target = root.make_directory(Path::new(path))?;
        sys::move_mount(tree.as_fd(), target.as_fd())
    };
    place().when(StartErrorKind::Mount, || format!("mount {path}"))
}

/// Shows the container its cgroups, so that programs find their limits. Not when it has mounted its own there.
pub(super) fn cgroups(root: &Root, spec: &ContainerSpec, cgroups: &dyn Cgroups) -> Result<(), StartError> {
    let base = Path::new("/sys/fs/cgroup");
    if spec.mounts.iter().any(|mount| mount.destination.starts_with(base)) {
        return Ok(());
    }
    let read_only = if spec.privileged { 0 } else { sys::MOUNT_ATTR_RDONLY };
    let mounts = cgroups.mounts();
    let has_directories = mounts.iter().any(|mount| !mount.name.is_empty());
    if has_directories {
        // sysfs has no directories for hierarchies; a small file system does, until it is closed to writing below.
        mount_new(
            root,
            "/sys/fs/cgroup",
            filesystem::new(c"tmpfs", &[Parameter::Value(c"mode", "755")], HARMLESS),
        )?;
    }
    for mount in mounts {
        let options: Vec<_> = mount.options.split(',').filter(|option| !option.is_empty()).collect();
        let flags: Vec<_> = options.into_iter().map(Parameter::Flag).collect();
        let made = filesystem::new(mount.kind, &flags, HARMLESS | read_only);
        let path = base.join(mount.name);
        mount_new(root, &path.to_string_lossy(), made)?;
    }
    if has_directories && !spec.privileged {
        let closed =
            root.find(base).and_then(|top| sys::mount_setattr(top.as_fd(), sys::MOUNT_ATTR_RDONLY, 0, false));
        closed.when(StartErrorKind::Mount, || "make /sys/fs/cgroup read-only".into())?;
    }
    Ok(())
}
