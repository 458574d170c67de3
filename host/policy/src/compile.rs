//! Compiling in a process of its own.
//!
//! What a component costs to compile cannot be told from its size: one function of 2 MB takes half a minute and 650 MiB. So
//! this program starts itself once more for each compilation, under limits of the kernel, and that process ends with the one
//! who asked: its standard input carries the component (its length as eight bytes, then its bytes) and stays open until the
//! answer is no longer wanted. The answer is compiled code on standard output, or one sentence on standard error.

use crate::engine;
use crate::limits::{
    COMPILE_CPU_SECONDS_MAX, COMPILE_MEMORY_BYTES_MAX, COMPILE_WALL_SECONDS_MAX, COMPONENT_BYTES_MAX,
};
use crate::sandbox::first_line;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What such a process is called: the first of its arguments. The others are [`CompileLimits::arguments`].
pub const COMPILE_ARGUMENT: &str = "berth-compile";

/// How much a compilation gives way to others: decisions come first.
const NICENESS: i32 = 10;

/// What a compilation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Of the processor's time.
    pub cpu_seconds: u64,
    /// By the clock on the wall.
    pub wall_seconds: u32,
    /// Of memory.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu_seconds: COMPILE_CPU_SECONDS_MAX,
            wall_seconds: COMPILE_WALL_SECONDS_MAX,
            memory_bytes: COMPILE_MEMORY_BYTES_MAX,
        }
    }
}

impl CompileLimits {
    /// What the process that compiles is told after its name.
    pub fn arguments(&self) -> [String; 3] {
        [self.cpu_seconds.to_string(), self.wall_seconds.to_string(), self.memory_bytes.to_string()]
    }

    /// What the end of the process says, for a person; `None` when it succeeded.
    pub fn explain_end(&self, status: ExitStatus, said: &str) -> Option<String> {
        if status.success() {
            return None;
        }
        let Self { cpu_seconds, wall_seconds, memory_bytes } = self;
        Some(match status.signal() {
            Some(libc::SIGXCPU) => {
                format!("compiling the component takes more than {cpu_seconds} s of processor time")
            }
            Some(libc::SIGALRM) => format!("compiling the component takes more than {wall_seconds} s"),
            // The allocator has no other way out.
            Some(libc::SIGABRT) => {
                format!("compiling the component takes more than {} MiB of memory", memory_bytes >> 20)
            }
            Some(signal) => format!("the compiler was ended by signal {signal}"),
            None if said.trim().is_empty() => "the compiler failed and gave no reason".to_owned(),
            None => first_line(said.trim()),
        })
    }

    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            cpu_seconds: arguments.next()?.parse().ok()?,
            wall_seconds: arguments.next()?.parse().ok()?,
            memory_bytes: arguments.next()?.parse().ok()?,
        })
    }

    /// Puts this process under the limits.
    fn set(&self) -> io::Result<()> {
        // Reserved address space is not data: the limit counts what can be written.
        set(libc::RLIMIT_DATA, self.memory_bytes, self.memory_bytes)?;
        // At the lower limit comes a signal of its own, by which the parent knows the reason.
        set(libc::RLIMIT_CPU, self.cpu_seconds, self.cpu_seconds + 1)?;
        set(libc::RLIMIT_CORE, 0, 0)?;
        // SAFETY: both have no preconditions. A process that is not niced compiles all the same.
        unsafe {
            libc::alarm(self.wall_seconds);
            libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
        }
        Ok(())
    }
}

/// Compiles and does not return, if this process was started to compile; returns at once if not.
pub fn compile_main_if_asked() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == COMPILE_ARGUMENT) {
        let texts = arguments.filter_map(|argument| argument.into_string().ok());
        let code = match compile_main(CompileLimits::read(texts)) {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("{why}");
                1
            }
        };
        std::process::exit(code);
    }
}

fn compile_main(limits: Option<CompileLimits>) -> Result<(), String> {
    let limits =
        limits.ok_or_else(|| format!("usage: {COMPILE_ARGUMENT} CPU-SECONDS WALL-SECONDS MEMORY-BYTES"))?;
    limits.set().map_err(|error| format!("the compiler cannot be limited: {error}"))?;
    let bytes = read(io::stdin().lock()).map_err(|error| format!("no component came: {error}"))?;
    std::thread::spawn(|| {
        // Nothing more comes: this returns when nobody waits for the answer.
        let _ended = io::stdin().lock().read(&mut [0]);
        std::process::exit(2);
    });
    let engine = wasmtime::Engine::new(&engine::config_to_compile()).map_err(|e| format!("{e:#}"))?;
    let code = engine
        .precompile_component(&bytes)
        .map_err(|error| format!("the component does not compile: {}", first_line(&format!("{error:#}"))))?;
    io::stdout().lock().write_all(&code).map_err(|error| format!("nobody takes the compiled code: {error}"))
}

fn read(mut stdin: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > COMPONENT_BYTES_MAX as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are too many")));
    }
    let mut bytes = vec![0; length as usize];
    stdin.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn set(what: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is valid for reads.
    match unsafe { libc::setrlimit(what, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
