//! Which of the ways to compile for Wasm this machine offers.

use crate::{BuildError, TARGET, command};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long `rustup target add` may take (the download is 20 MB). Where its server cannot be reached it would wait for ever.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// Where Debian and Ubuntu put the compiler of `rustc-web`, and the library sources of `rust-web-src`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// Flags every guest is compiled with.
const GUEST_RUSTFLAGS: &str = "-Ctarget-feature=+simd128";

/// The profile of guests, as cargo's variables: fast code first, then small.
const GUEST_PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

/// A way to compile for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The default toolchain has the target's standard library.
    Installed,
    /// Debian's compiler builds the standard library from its sources first.
    BuildStd {
        /// A linker for Wasm.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Finds a way, the cheapest first. Whether `rustup target add` failed is remembered in `target_dir`, so that only the
    /// first build waits for it.
    pub fn find(target_dir: &Path) -> Result<Self, BuildError> {
        if has_target() {
            return Ok(Self::Installed);
        }
        let build_std = find_build_std();
        if let Ok(toolchain) = build_std {
            return Ok(toolchain);
        }
        let rustup = add_target(target_dir);
        if rustup.is_ok() && has_target() {
            return Ok(Self::Installed);
        }
        let reasons = [rustup.err(), build_std.err()];
        Err(BuildError::NoToolchain { tried: reasons.into_iter().flatten().collect::<Vec<_>>().join("; ") })
    }

    /// The cargo call that compiles a package.
    pub(crate) fn cargo_build(&self, package: &Path, target_dir: &Path) -> Command {
        let mut command = match self {
            Self::Installed => command::clean("cargo"),
            Self::BuildStd { linker } => {
                let mut command = command::clean(DEBIAN_CARGO);
                // Cargo points programs it starts at its own toolchain's libraries, which are not this compiler's.
                command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command
            }
        };
        command.envs(GUEST_PROFILE).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", GUEST_RUSTFLAGS);
        command.current_dir(package).args(["build", "--lib", "--release", "--target", TARGET]);
        command.arg("--message-format=json-render-diagnostics");
        command.arg("--target-dir").arg(target_dir.join(self.name()));
        if let Self::BuildStd { .. } = self {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::BuildStd { .. } => "build-std",
        }
    }
}

/// Whether the default toolchain can compile for the target at once.
fn has_target() -> bool {
    let directory = command::query("rustc", &["--print", "target-libdir", "--target", TARGET]);
    let entries = directory.and_then(|directory| std::fs::read_dir(directory).ok());
    entries.is_some_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

fn add_target(target_dir: &Path) -> Result<(), String> {
    let failed_before = target_dir.join("rustup-target-add-failed");
    if failed_before.exists() {
        return Err(format!(
            "rustup target add failed before; remove {} to try again",
            failed_before.display()
        ));
    }
    let mut rustup = command::clean("rustup");
    rustup.args(["target", "add", TARGET]);
    if command::succeeds_within(rustup, RUSTUP_LIMIT) {
        return Ok(());
    }
    // Without the mark the next build merely waits again.
    let _ = std::fs::create_dir_all(target_dir).and_then(|()| std::fs::write(&failed_before, ""));
    Err("rustup target add failed".to_owned())
}

fn find_build_std() -> Result<Toolchain, String> {
    let missing = |what: &str| Err(format!("{what} is not installed"));
    if !Path::new(DEBIAN_CARGO).exists() {
        return missing("cargo-web");
    }
    let Some(sysroot) = command::query(DEBIAN_RUSTC, &["--print", "sysroot"]) else {
        return missing("rustc-web");
    };
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists() {
        return missing("rust-web-src");
    }
    match find_linker() {
        Some(linker) => Ok(Toolchain::BuildStd { linker }),
        None => missing("a linker for Wasm (rust-lld or wasm-ld)"),
    }
}

/// The linker that comes with any Rust toolchain of rustup, or LLVM's on the path.
fn find_linker() -> Option<PathBuf> {
    let bundled = ["rustc", DEBIAN_RUSTC].into_iter().filter_map(|rustc| {
        let sysroot = command::query(rustc, &["--print", "sysroot"])?;
        let host = command::query(rustc, &["--print", "host-tuple"])?;
        Some(Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld"))
    });
    let directories: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let on_path =
        directories.iter().flat_map(|directory| ["rust-lld", "wasm-ld"].map(|name| directory.join(name)));
    bundled.chain(on_path).find(|path| path.is_file())
}
