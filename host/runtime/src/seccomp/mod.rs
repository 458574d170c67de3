//! System call filters: compiled once for each set of capabilities by berth, loaded by every process of a container.

mod profile;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

use crate::capabilities::{self, Capability};
use crate::rundir;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (TargetArch, u32) = (TargetArch::x86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: (TargetArch, u32) = (TargetArch::aarch64, 0xc000_00b7);

/// Size of struct sock_filter.
const INSTRUCTION_BYTES: usize = 8;

/// Compiled filters, as files in the run directory: shims need no compiler and no memory for it, and find them when
/// berth is away.
pub(crate) struct Cache {
    directory: PathBuf,
    /// The capability masks whose filters this process has written. Files of an earlier berth are not trusted to
    /// hold the same profile.
    written: Mutex<BTreeSet<u64>>,
}

impl Cache {
    pub(crate) fn new(directory: PathBuf) -> Cache {
        Cache { directory, written: Mutex::default() }
    }

    /// Makes sure that the filter for these capabilities is there.
    pub(crate) fn prepare(&self, set: &BTreeSet<Capability>) -> io::Result<()> {
        let key = relevant(set);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.contains(&key) {
            return Ok(());
        }
        rundir::make_private(&self.directory)?;
        rundir::write_bytes(&file(&self.directory, key), &compile(set).map_err(io::Error::other)?)?;
        written.insert(key);
        Ok(())
    }
}

/// The part of a set that the profile looks at.
fn relevant(set: &BTreeSet<Capability>) -> u64 {
    let known: BTreeSet<_> = profile::BY_CAPABILITY.iter().map(|(capability, _)| *capability).collect();
    capabilities::mask(&known.intersection(set).copied().collect())
}

fn file(directory: &Path, key: u64) -> PathBuf {
    directory.join(format!("docker-default-{key:x}.bpf"))
}

/// A compiled filter, ready for the kernel.
pub(crate) struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Reads what [`Cache::prepare`] has written.
    pub(crate) fn load(directory: &Path, set: &BTreeSet<Capability>) -> io::Result<Filter> {
        let bytes = fs::read(file(directory, relevant(set)))?;
        let (instructions, rest) = bytes.as_chunks::<INSTRUCTION_BYTES>();
        if !rest.is_empty() || instructions.is_empty() {
            return Err(io::Error::other("the compiled seccomp profile is damaged"));
        }
        let decode = |bytes: &[u8; INSTRUCTION_BYTES]| {
            let [a, b, jt, jf, k @ ..] = *bytes;
            libc::sock_filter { code: u16::from_le_bytes([a, b]), jt, jf, k: u32::from_le_bytes(k) }
        };
        Ok(Filter(instructions.iter().map(decode).collect()))
    }

    /// Puts it on this thread and all that it will execute. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
    pub(crate) fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        let none: libc::c_uint = 0;
        // SAFETY: the program is valid through the call; the kernel copies it and writes to nothing.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, none, &raw const program)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Compiles the profile for these capabilities, into the little-endian bytes of its instructions.
fn compile(set: &BTreeSet<Capability>) -> Result<Vec<u8>, seccompiler::BackendError> {
    let admin = set.contains(&profile::SYS_ADMIN);
    // No rules under a call mean: whatever its arguments.
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, condition) in profile::conditional() {
        let profile::Condition { argument, length, operator, value } = condition;
        let condition = SeccompCondition::new(argument, length, operator, value)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition])?);
    }
    rules.extend(profile::unconditional().map(|call| (call, Vec::new())));
    for (_, calls) in profile::BY_CAPABILITY.iter().filter(|(capability, _)| set.contains(capability)) {
        rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, ARCHITECTURE.0)?;
    let program: BpfProgram = filter.try_into()?;
    let mut bytes = Vec::new();
    let whole = unknown_calls(admin).into_iter().chain(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)));
    for (code, jt, jf, k) in whole {
        bytes.extend(code.to_le_bytes());
        bytes.extend([jt, jf]);
        bytes.extend(k.to_le_bytes());
    }
    Ok(bytes)
}

/// Goes before the compiled rules, which know one answer only: `ENOSYS` for calls newer than the profile, and for
/// `clone3`, whose flags a filter cannot see; libraries then use `clone`.
fn unknown_calls(admin: bool) -> [(u16, u8, u8, u32); 7] {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER_OFFSET: u32 = 0; // of struct seccomp_data
    const ARCHITECTURE_OFFSET: u32 = 4;
    let unsupported = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let clone3 = if admin { u32::MAX } else { libc::SYS_clone3 as u32 };
    [
        (LOAD, 0, 0, ARCHITECTURE_OFFSET),
        (JUMP_EQUAL, 0, 5, ARCHITECTURE.1), // another one: the rules deal with it
        (LOAD, 0, 0, NUMBER_OFFSET),
        (JUMP_GREATER, 2, 0, profile::NEWEST),
        (JUMP_EQUAL, 1, 0, clone3),
        (JUMP, 0, 0, 1),
        (RETURN, 0, 0, unsupported),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    /// What the kernel would do with this call under the profile.
    fn verdict(set: &BTreeSet<Capability>, architecture: u32, call: i64, arguments: [u64; 2]) -> u32 {
        let bytes = compile(set).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(file(directory.path(), relevant(set)), bytes).unwrap();
        let program = Filter::load(directory.path(), set).unwrap().0;
        let mut data = Vec::new();
        data.extend((call as u32).to_le_bytes());
        data.extend(architecture.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let step = program[at];
            at += 1;
            let branch = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                0x20 => {
                    let offset = step.k as usize;
                    accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                0x05 => at += step.k as usize,
                0x15 => at += branch(accumulator == step.k),
                0x25 => at += branch(accumulator > step.k),
                0x35 => at += branch(accumulator >= step.k),
                0x54 => accumulator &= step.k,
                0x06 => return step.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn default(call: i64, arguments: [u64; 2]) -> u32 {
        verdict(&capabilities::docker_default(), ARCHITECTURE.1, call, arguments)
    }

    #[test]
    fn ordinary_calls_pass_and_dangerous_ones_do_not() {
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_execve, libc::SYS_futex, libc::SYS_chroot] {
            assert_eq!(default(call, [0, 0]), ALLOW, "{call}");
        }
        for call in [libc::SYS_mount, libc::SYS_unshare, libc::SYS_setns, libc::SYS_bpf, libc::SYS_keyctl] {
            assert_eq!(default(call, [0, 0]), EPERM, "{call}");
        }
        assert_eq!(default(libc::SYS_io_uring_setup, [0, 0]), EPERM);
    }

    #[test]
    fn arguments_are_looked_at() {
        assert_eq!(default(libc::SYS_socket, [libc::AF_INET as u64, 0]), ALLOW);
        assert_eq!(default(libc::SYS_socket, [libc::AF_VSOCK as u64, 0]), EPERM);
        assert_eq!(default(libc::SYS_clone, [libc::SIGCHLD as u64, 0]), ALLOW);
        assert_eq!(default(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0]), EPERM);
        assert_eq!(default(libc::SYS_personality, [0xffff_ffff, 0]), ALLOW);
        assert_eq!(default(libc::SYS_personality, [0x40000, 0]), EPERM, "ADDR_NO_RANDOMIZE");
    }

    #[test]
    fn what_the_profile_cannot_judge_does_not_exist() {
        assert_eq!(default(libc::SYS_clone3, [0, 0]), ENOSYS);
        assert_eq!(default(i64::from(profile::NEWEST) + 1, [0, 0]), ENOSYS);
        assert_eq!(default(0x4000_0000 + libc::SYS_mount, [0, 0]), ENOSYS, "the x32 way in");
    }

    #[test]
    fn capabilities_open_their_calls() {
        let mut set = capabilities::docker_default();
        set.insert(profile::SYS_ADMIN);
        assert_eq!(verdict(&set, ARCHITECTURE.1, libc::SYS_mount, [0, 0]), ALLOW);
        assert_eq!(verdict(&set, ARCHITECTURE.1, libc::SYS_clone3, [0, 0]), ALLOW);
        assert_eq!(verdict(&set, ARCHITECTURE.1, libc::SYS_init_module, [0, 0]), EPERM);
    }

    #[test]
    fn another_architecture_is_not_a_way_around() {
        const I386: u32 = 0x4000_0003;
        let verdict = verdict(&capabilities::docker_default(), I386, 21, [0, 0]);
        assert_ne!(verdict, ALLOW, "mount(2) of i386");
    }
}
