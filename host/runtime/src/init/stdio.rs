//! Standard input, output and error of a process in a container.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, makedev};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::process::ProcessPlan;
use super::resolve::Root;
use super::{Report, Reporter, When};
use crate::client::set_terminal_size;
use crate::error::{StartError, StartErrorKind};
use crate::spec::{Stdio, TerminalSize};
use crate::sys;

/// The process's ends of its pipes.
pub(crate) enum ChildStreams {
    /// Pipes; no standard input means `/dev/null`.
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    /// It makes a terminal itself, inside.
    Terminal,
}

/// Whether a terminal becomes `/dev/console` as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Console {
    /// For a container's first process.
    Make,
    /// For an exec'd one.
    None,
}

impl ChildStreams {
    /// What must stay open until then.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        match self {
            ChildStreams::Pipes { stdin, stdout, stderr } => {
                let stdin = stdin.as_ref().map(AsRawFd::as_raw_fd);
                stdin.into_iter().chain([stdout.as_raw_fd(), stderr.as_raw_fd()]).collect()
            }
            ChildStreams::Terminal => Vec::new(),
        }
    }

    /// Makes them descriptors 0, 1 and 2, owned by the user who may want to open them again as `/dev/stdout`.
    pub(super) fn install(
        &self,
        root: &Root,
        plan: &ProcessPlan,
        reporter: &Reporter,
        console: Console,
    ) -> Result<(), StartError> {
        let owner = plan.credentials()?.uid;
        let failed = || "connect the standard streams".to_owned();
        match (self, plan.stdio) {
            (ChildStreams::Pipes { stdin, stdout, stderr }, _) => {
                let given = [stdin.as_ref(), Some(stdout), Some(stderr)];
                given
                    .into_iter()
                    .flatten()
                    .try_for_each(|pipe| own(pipe, owner))
                    .when(StartErrorKind::Internal, failed)?;
                let null = fs::File::options().read(true).open("/dev/null").map(OwnedFd::from);
                let null = null.when(StartErrorKind::Internal, failed)?;
                duplicate(stdin.as_ref().unwrap_or(&null), stdout, stderr)
                    .when(StartErrorKind::Internal, failed)
            }
            (ChildStreams::Terminal, Stdio::Terminal { size }) => {
                let terminal = Terminal::new(root, size);
                let terminal = terminal.when(StartErrorKind::Internal, || "make a terminal".into())?;
                if console == Console::Make {
                    terminal.make_console(root).when(StartErrorKind::Mount, || "make /dev/console".into())?;
                }
                let Terminal { master, slave } = terminal;
                own(&slave, owner)
                    .and_then(|()| become_controlling(&slave))
                    .and_then(|()| duplicate(&slave, &slave, &slave))
                    .when(StartErrorKind::Internal, failed)?;
                reporter.send_with(&Report::Terminal, &[&master])
            }
            (ChildStreams::Terminal, Stdio::Pipes { .. }) => {
                unreachable!("the shim derives one from the other")
            }
        }
    }
}

fn duplicate(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    dup2_stdin(stdin)?;
    dup2_stdout(stdout)?;
    dup2_stderr(stderr)?;
    Ok(())
}

fn own(stream: &OwnedFd, uid: u32) -> io::Result<()> {
    Ok(fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>)?)
}

/// The session's terminal: this process leads a session and has none yet.
fn become_controlling(slave: &OwnedFd) -> io::Result<()> {
    // SAFETY: the request takes an integer.
    if unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A terminal of the container's own devpts.
struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    fn new(root: &Root, size: TerminalSize) -> io::Result<Terminal> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let master = root.open(Path::new("/dev/pts/ptmx"), flags)?;
        let status = fstat(&master)?;
        let is_character = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
        if !is_character || status.st_rdev != makedev(5, 2) {
            return Err(io::Error::other("/dev/pts/ptmx in the container is not a terminal multiplexer"));
        }
        let unlocked: libc::c_int = 0;
        // SAFETY: the request reads one int.
        if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // By the descriptor, not by a name in a directory that the container may have changed.
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the request takes open flags and returns a new descriptor.
        let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
        if slave < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        set_terminal_size(&slave, size)?;
        Ok(Terminal { master, slave })
    }

    fn make_console(&self, root: &Root) -> io::Result<()> {
        let target = root.make_file(Path::new("/dev/console"))?;
        let mount = sys::open_tree_clone(self.slave.as_fd())?;
        sys::move_mount(mount.as_fd(), target.as_fd())
    }
}
