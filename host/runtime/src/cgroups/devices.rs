//! Which devices a container may use. v1 has files for that; v2 asks an eBPF program.

use std::ffi::c_void;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One rule, as `devices.allow` of cgroup v1 has it: `c 1:3 rwm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    kind: Kind,
    /// `None` means any.
    major: Option<u32>,
    /// `None` means any.
    minor: Option<u32>,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Character,
}

/// Bits of `BPF_DEVCG_ACC_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access(u32);

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

impl DeviceRule {
    const fn character(major: u32, minor: Option<u32>) -> DeviceRule {
        let access = Access(MKNOD | READ | WRITE);
        DeviceRule { kind: Kind::Character, major: Some(major), minor, access }
    }

    /// What every container may do, as under Docker: make any node, but use only the harmless ones.
    pub(crate) const STANDARD: [DeviceRule; 11] = [
        DeviceRule { kind: Kind::Character, major: None, minor: None, access: Access(MKNOD) },
        DeviceRule { kind: Kind::Block, major: None, minor: None, access: Access(MKNOD) },
        DeviceRule::character(1, Some(3)), // null
        DeviceRule::character(1, Some(5)), // zero
        DeviceRule::character(1, Some(7)), // full
        DeviceRule::character(1, Some(8)), // random
        DeviceRule::character(1, Some(9)), // urandom
        DeviceRule::character(5, Some(0)), // tty
        DeviceRule::character(5, Some(1)), // console
        DeviceRule::character(5, Some(2)), // ptmx
        DeviceRule::character(136, None),  // pts/*
    ];

    /// The rule for a device node of the machine.
    pub(crate) fn for_node(path: &Path, permissions: &str) -> io::Result<DeviceRule> {
        let metadata = fs::metadata(path)?;
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => Kind::Character,
            kind if kind.is_block_device() => Kind::Block,
            _ => return Err(io::Error::other("not a device node")),
        };
        let mut access = 0;
        for permission in permissions.chars() {
            access |= match permission {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                other => {
                    return Err(io::Error::other(format!("device permission {other:?}: use r, w and m")));
                }
            };
        }
        let number = metadata.rdev();
        Ok(DeviceRule {
            kind,
            major: Some(libc::major(number)),
            minor: Some(libc::minor(number)),
            access: Access(access),
        })
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let names = [(READ, "r"), (WRITE, "w"), (MKNOD, "m")];
        names.iter().filter(|(bit, _)| self.access.0 & bit != 0).try_for_each(|(_, name)| f.write_str(name))
    }
}

/// struct bpf_insn.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD_WORD: u8 = 0x61;
/// `BPF_ALU | BPF_AND | BPF_K`: on 32 bits.
const AND: u8 = 0x54;
/// `BPF_ALU | BPF_RSH | BPF_K`.
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_ALU | BPF_MOV | BPF_X`.
const MOVE: u8 = 0xbc;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_JMP | BPF_JNE | BPF_K`.
const JUMP_UNLESS_EQUAL: u8 = 0x55;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

/// Compiles the rules into a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`: 1 allows, 0 refuses. It gets a
/// struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff), // r2: type
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16), // r3: access
        instruction(LOAD_WORD, 4, 1, 4, 0),    // r4: major
        instruction(LOAD_WORD, 5, 1, 8, 0),    // r5: minor
    ];
    for rule in rules {
        let device_type = match rule.kind {
            Kind::Block => 1,
            Kind::Character => 2,
        };
        let forbidden = !rule.access.0 & (MKNOD | READ | WRITE);
        let mut tests = vec![(2, device_type)];
        tests.extend(rule.major.map(|major| (4, major as i32)));
        tests.extend(rule.minor.map(|minor| (5, minor as i32)));
        // After the tests: move, and, jump, set, exit.
        let mut left = tests.len() as i16 + 5;
        for (register, value) in tests {
            left -= 1;
            program.push(instruction(JUMP_UNLESS_EQUAL, register, 0, left, value));
        }
        program.extend([
            instruction(MOVE, 6, 3, 0, 0),
            instruction(AND, 6, 0, 0, forbidden as i32),
            instruction(JUMP_UNLESS_EQUAL, 6, 0, 2, 0),
            instruction(SET, 0, 0, 0, 1),
            instruction(EXIT, 0, 0, 0, 0),
        ]);
    }
    program.extend([instruction(SET, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of groups further up are asked as well.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The start of union bpf_attr for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The start of union bpf_attr for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// # Safety
/// `attributes` must be what `command` reads.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    let pointer: *const T = attributes;
    // SAFETY: the size tells the kernel how much of the union is there; the rest counts as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer.cast::<c_void>(), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// Attaches a filter to a group. It lives as long as the group does.
pub(super) fn attach_filter(directory: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    let program = compile(rules);
    let load = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let refused = |error: io::Error| super::annotate(&error, "load the eBPF device filter".to_owned());
    // SAFETY: the attributes are those of BPF_PROG_LOAD, and `program` lives through the call.
    let loaded = unsafe { bpf(BPF_PROG_LOAD, &load) }.map_err(refused)?;
    // SAFETY: the kernel has just made this descriptor.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let group = fs::File::open(directory)?;
    let attach = AttachAttributes {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are those of BPF_PROG_ATTACH.
    unsafe { bpf(BPF_PROG_ATTACH, &attach) }.map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a compiled filter as the kernel would, for the instructions that it uses.
    fn allows(program: &[Instruction], access: u32, kind: Kind, major: u32, minor: u32) -> bool {
        let device_type = if kind == Kind::Block { 1 } else { 2 };
        let context = [access << 16 | device_type, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let step = &program[at];
            let destination = usize::from(step.registers & 0xf);
            let source = usize::from(step.registers >> 4);
            match step.code {
                LOAD_WORD => registers[destination] = u64::from(context[step.offset as usize / 4]),
                AND => registers[destination] &= step.immediate as u32 as u64,
                SHIFT_RIGHT => registers[destination] >>= step.immediate,
                MOVE => registers[destination] = registers[source],
                SET => registers[destination] = step.immediate as u64,
                JUMP_UNLESS_EQUAL if registers[destination] != step.immediate as u64 => {
                    at += step.offset as usize;
                }
                JUMP_UNLESS_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
            at += 1;
        }
    }

    #[test]
    fn standard_rules_allow_null_and_refuse_disks() {
        let program = compile(&DeviceRule::STANDARD);
        assert!(allows(&program, READ | WRITE, Kind::Character, 1, 3));
        assert!(allows(&program, READ | WRITE, Kind::Character, 136, 7));
        assert!(allows(&program, MKNOD, Kind::Block, 8, 0), "nodes may be made, as under docker");
        assert!(!allows(&program, READ, Kind::Block, 8, 0));
        assert!(!allows(&program, MKNOD | READ, Kind::Block, 8, 0));
        assert!(!allows(&program, READ, Kind::Character, 1, 1), "/dev/mem");
        assert!(!allows(&program, READ, Kind::Block, 1, 3), "same numbers, other kind");
    }

    #[test]
    fn rules_print_as_v1_reads_them() {
        let rules: Vec<String> = DeviceRule::STANDARD.iter().map(ToString::to_string).collect();
        assert_eq!(rules[0], "c *:* m");
        assert_eq!(rules[2], "c 1:3 rwm");
        assert_eq!(rules[10], "c 136:* rwm");
        assert_eq!(DeviceRule::for_node(Path::new("/dev/null"), "rw").unwrap().to_string(), "c 1:3 rw");
        assert!(DeviceRule::for_node(Path::new("/proc/self/stat"), "r").is_err());
    }
}
