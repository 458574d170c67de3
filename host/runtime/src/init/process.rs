//! What the first and every exec'd process of a container share: credentials, capabilities, seccomp, limits.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};

use super::user::{self, Credentials};
use super::{Report, Reporter, When, command};
use crate::capabilities::{self, Capability};
use crate::error::{StartError, StartErrorKind};
use crate::seccomp::Filter;
use crate::spec::{ContainerSpec, ExecSpec, Rlimit, Stdio, User};
use crate::sys;

/// How many descriptors a process may have open until it asks for more, or its container says otherwise: the kernel's and
/// systemd's own choice, and containerd's since 2.0. The hard limit stays the machine's.
const DESCRIPTORS_SOFT: u64 = 1024;

/// Everything about a process but its surroundings.
pub(crate) struct ProcessPlan {
    args: Vec<String>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    user: User,
    capabilities: u64,
    privileged: bool,
    no_new_privs: bool,
    filter: Option<Filter>,
    rlimits: Vec<Rlimit>,
    oom_score_adj: i32,
    pub(super) stdio: Stdio,
}

impl ProcessPlan {
    /// For a container's first process.
    pub(crate) fn init(spec: &ContainerSpec, filter: Option<Filter>) -> ProcessPlan {
        let granted = if spec.privileged { Capability::all() } else { spec.capabilities.clone() };
        ProcessPlan {
            args: spec.args.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            capabilities: capabilities::mask(&granted),
            privileged: spec.privileged,
            no_new_privs: spec.no_new_privs,
            filter,
            rlimits: spec.rlimits.clone(),
            oom_score_adj: spec.oom_score_adj,
            stdio: spec.stdio,
        }
    }

    /// For a process exec'd in it.
    pub(crate) fn exec(container: &ContainerSpec, exec: &ExecSpec, filter: Option<Filter>) -> ProcessPlan {
        let mut plan = ProcessPlan::init(container, filter);
        plan.args.clone_from(&exec.args);
        plan.env.extend(exec.env.iter().cloned());
        if let Some(cwd) = &exec.cwd {
            plan.cwd.clone_from(cwd);
        }
        if let Some(user) = &exec.user {
            plan.user.clone_from(user);
        }
        plan.stdio = exec.stdio;
        plan
    }

    /// Sets `oom_score_adj`, or comes as near to it as this machine permits. Through the machine's `/proc`, so it
    /// comes before the mounts.
    pub(crate) fn set_oom_score(&self, reporter: &Reporter) -> Result<(), StartError> {
        const FILE: &str = "/proc/self/oom_score_adj";
        let wanted = self.oom_score_adj.clamp(-1000, 1000);
        let current = fs::read_to_string(FILE).when(StartErrorKind::Security, || format!("read {FILE}"))?;
        if current.trim() == wanted.to_string() {
            return Ok(());
        }
        match fs::write(FILE, wanted.to_string()) {
            // Lowering it needs CAP_SYS_RESOURCE.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                reporter.send(&Report::Warning(format!(
                    "oom_score_adj {wanted} is not permitted on this machine; {} is used",
                    current.trim()
                )))
            }
            other => other.when(StartErrorKind::Security, || format!("write {wanted} to {FILE}")),
        }
    }

    /// Credentials in the container this process is in.
    pub(super) fn credentials(&self) -> Result<Credentials, StartError> {
        user::resolve(&self.user)
    }

    /// Gives up everything it should not have, and becomes the program.
    pub(crate) fn execute(self, reporter: &Reporter) -> Result<Infallible, StartError> {
        let credentials = self.credentials()?;
        let environment = self.environment(&credentials);
        self.apply_rlimits(reporter)?;
        sys::join_new_session_keyring().when(StartErrorKind::Security, || "join a session keyring".into())?;
        // First as root, as runc does: an image may start where its user cannot go, /root for example. What root may
        // not enter (a file system of another machine), the user perhaps may.
        let entered = command::enter_working_directory(&self.cwd);
        self.drop_privileges(&credentials, reporter)?;
        umask(Mode::from_bits_truncate(0o022));
        if entered.is_err() {
            command::enter_working_directory(&self.cwd)?;
        }
        let path = environment.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let file = command::find(self.args.first().map_or("", String::as_str), path)?;
        let arguments = c_strings(&self.args)?;
        let environment = c_strings(&environment)?;
        // The container must not outlive its shim: nobody would see how it ends. After the change of user, which
        // clears this.
        sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
            .when(StartErrorKind::Security, || "set the parent death signal".into())?;
        if let (true, Some(filter)) = (self.no_new_privs, &self.filter) {
            filter.install().when(StartErrorKind::Security, || "install the seccomp filter".into())?;
        }
        reporter.send(&Report::Executing)?;
        // Every descriptor is closed by execve, the reporter's too: that is how the shim knows.
        command::execute(&file, &arguments, &environment)
    }

    /// `NAME=value`, with what every program expects.
    fn environment(&self, credentials: &Credentials) -> Vec<String> {
        let mut merged: Vec<(&str, &str)> = Vec::new();
        let defaults = [("PATH", command::PATH_DEFAULT), ("HOME", credentials.home.as_str())];
        let term = matches!(self.stdio, Stdio::Terminal { .. }).then_some(("TERM", "xterm"));
        let asked = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.into_iter().chain(term).chain(asked) {
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some(entry) => entry.1 = value,
                None => merged.push((name, value)),
            }
        }
        merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn apply_rlimits(&self, reporter: &Reporter) -> Result<(), StartError> {
        // Its own limit is first the usual one, not the shim's: some programs close or allot for every number there is.
        let hard =
            hard_limit(libc::RLIMIT_NOFILE).when(StartErrorKind::Security, || "read RLIMIT_NOFILE".into())?;
        set_rlimit(libc::RLIMIT_NOFILE, DESCRIPTORS_SOFT.min(hard), hard)
            .when(StartErrorKind::Security, || "set RLIMIT_NOFILE".into())?;
        for limit in &self.rlimits {
            let Some(resource) = rlimit_number(&limit.kind) else {
                let message = format!("unknown rlimit {:?}: see getrlimit(2) for the names", limit.kind);
                return Err(StartError::new(StartErrorKind::Security, message));
            };
            if limit.soft > limit.hard {
                let message = format!("{}: the soft limit is above the hard limit", limit.kind);
                return Err(StartError::new(StartErrorKind::Security, message));
            }
            let failed = || format!("set {}", limit.kind);
            match set_rlimit(resource, limit.soft, limit.hard) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let hard = hard_limit(resource).when(StartErrorKind::Security, failed)?;
                    set_rlimit(resource, limit.soft.min(hard), hard)
                        .when(StartErrorKind::Security, failed)?;
                    let warning = format!(
                        "{} {} is not permitted on this machine; {hard} is used",
                        limit.kind, limit.hard
                    );
                    reporter.send(&Report::Warning(warning))?;
                }
                other => other.when(StartErrorKind::Security, failed)?,
            }
        }
        Ok(())
    }

    fn drop_privileges(&self, credentials: &Credentials, reporter: &Reporter) -> Result<(), StartError> {
        let kind = StartErrorKind::Security;
        let available = capabilities::bounding().when(kind, || "read the bounding set".into())?;
        let granted = self.capabilities & available;
        if granted != self.capabilities && !self.privileged {
            let missing: Vec<String> = Capability::all()
                .into_iter()
                .filter(|one| capabilities::mask(&[*one].into()) & self.capabilities & !available != 0)
                .map(|one| one.to_string())
                .collect();
            reporter
                .send(&Report::Warning(format!("{} not available on this machine", missing.join(", "))))?;
        }
        if self.no_new_privs {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).when(kind, || "set no_new_privs".into())?;
        }
        capabilities::limit_bounding(granted).when(kind, || "limit the bounding set".into())?;
        // With no_new_privs it can come last; without, it needs a capability that is about to go.
        if let (false, Some(filter)) = (self.no_new_privs, &self.filter) {
            filter.install().when(kind, || "install the seccomp filter".into())?;
        }
        let groups: Vec<Gid> = credentials.groups.iter().copied().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&groups).when(kind, || "set the supplementary groups".into())?;
        let (uid, gid) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
        nix::unistd::setresgid(gid, gid, gid).when(kind, || format!("become group {gid}"))?;
        nix::unistd::setresuid(uid, uid, uid).when(kind, || format!("become user {uid}"))?;
        // Others than root have none, as after any execve; a set-user-ID program may win back the bounding set.
        let effective = if uid.is_root() { granted } else { 0 };
        capabilities::set(effective).when(kind, || "set the capabilities".into())
    }
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, StartError> {
    let convert = |text: &String| CString::new(text.as_str());
    texts
        .iter()
        .map(convert)
        .collect::<Result<_, _>>()
        .map_err(|_| StartError::new(StartErrorKind::Internal, "NUL in an argument or environment variable"))
}

/// Gives the program the signal handling a program expects: the shim blocks what it reads from a descriptor, Rust
/// ignores SIGPIPE, and whoever started berth in the background has perhaps made it ignore SIGINT and SIGQUIT.
pub(super) fn reset_signals() -> io::Result<()> {
    sys::reset_signal_actions()?;
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

fn rlimit_number(name: &str) -> Option<libc::__rlimit_resource_t> {
    Some(match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        _ => return None,
    })
}

fn set_rlimit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one struct rlimit.
    if unsafe { libc::setrlimit(resource, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn hard_limit(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one struct rlimit.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_max)
}
