//! Compiles Rust policies to Wasm components with whatever toolchain is there.
//!
//! Used by the build script that bundles the built-in policies, by tests that need other guests, and, as a program, by authors:
//! `cargo run -p berth-guest-build -- <package directory> <output file>`.
//!
//! Invariant: what a guest is compiled with depends on this crate and the guest alone, never on the flags and variables of the
//! cargo that happens to call.

mod command;
mod toolchain;

pub use toolchain::Toolchain;

use std::path::{Path, PathBuf};

/// The target all guests are compiled for: no system interface, hence no imports but those of the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Why a guest was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither way of compiling for [`TARGET`] is there.
    #[error(
        "no Rust toolchain here can compile for {TARGET}: run `rustup target add {TARGET}`, or on Debian and Ubuntu \
         `apt-get install --no-install-recommends rustc-web cargo-web rust-web-src` ({tried})"
    )]
    NoToolchain {
        /// What was tried, and how it ended.
        tried: String,
    },
    /// There is nothing to compile.
    #[error("{package} is no Rust package: it has no Cargo.toml")]
    NoPackage {
        /// The directory.
        package: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// Cargo refused.
    #[error("compiling {package} failed:\n{output}")]
    Compile {
        /// Directory of the package.
        package: PathBuf,
        /// What cargo said.
        output: String,
    },
    /// The package has no `cdylib`.
    #[error("{package} produced no Wasm module: its Cargo.toml needs [lib] crate-type = [\"cdylib\"]")]
    NoModule {
        /// Directory of the package.
        package: PathBuf,
    },
    /// The module could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The module does not keep to the contract.
    #[error("{package} is no component: {reason}")]
    Encode {
        /// Directory of the package.
        package: PathBuf,
        /// What the encoder said.
        reason: String,
    },
}

/// Compiles the package in a directory and makes a component of it. Intermediate files go to `target_dir`, which may be shared.
pub fn component(package: &Path, target_dir: &Path) -> Result<Vec<u8>, BuildError> {
    if !package.join("Cargo.toml").is_file() {
        return Err(BuildError::NoPackage { package: package.to_owned() });
    }
    let toolchain = Toolchain::find(target_dir)?;
    let module = core_module(package, target_dir, &toolchain)?;
    encode(&module).map_err(|reason| BuildError::Encode { package: package.to_owned(), reason })
}

/// Compiles the package in a directory to a core module.
fn core_module(package: &Path, target_dir: &Path, toolchain: &Toolchain) -> Result<Vec<u8>, BuildError> {
    let (stdout, stderr, success) = command::run(toolchain.cargo_build(package, target_dir))?;
    if !success {
        return Err(BuildError::Compile { package: package.to_owned(), output: stderr });
    }
    let path = module_path(&stdout).ok_or_else(|| BuildError::NoModule { package: package.to_owned() })?;
    std::fs::read(&path).map_err(|source| BuildError::Read { path, source })
}

/// The last Wasm file among cargo's messages: cargo reports the requested package after its dependencies.
fn module_path(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let files = messages.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let paths = files.filter_map(|file| file.as_str().map(PathBuf::from));
    paths.fold(
        None,
        |last, path| if path.extension().is_some_and(|e| e == "wasm") { Some(path) } else { last },
    )
}

/// Wraps a core module that carries its world in a custom section.
fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = wit_component::ComponentEncoder::default();
    let encoded = encoder.validate(true).module(module).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

/// One target directory for all guests, beside cargo's profile directory (`debug`, `release`) that `inside` lies in: the
/// standard library is compiled once for all of them. `inside` is a build script's `OUT_DIR` or a program that cargo built.
///
/// Told from cargo's layout, as nothing marks a target directory: cargo puts its CACHEDIR.TAG only into one that it made
/// itself, and set-up may have made this one.
///
/// # Panics
/// When `inside` is neither.
pub fn shared_target_dir(inside: &Path) -> PathBuf {
    let named =
        |level: usize, name: &str| inside.ancestors().nth(level).is_some_and(|path| path.ends_with(name));
    let profile = if named(0, "out") && named(2, "build") {
        3
    } else if named(1, "deps") || named(1, "examples") {
        2
    } else {
        1
    };
    let target = inside.ancestors().nth(profile + 1);
    target.unwrap_or_else(|| panic!("{} is in no cargo target directory", inside.display())).join("guests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_last_one_cargo_reports() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/dependency.wasm"]}
            not JSON
            {"reason":"compiler-artifact","filenames":["/t/libplugin.rlib","/t/plugin.wasm"]}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(module_path(messages), Some(PathBuf::from("/t/plugin.wasm")));
        assert_eq!(module_path(r#"{"filenames":["/t/plugin.rlib"]}"#), None);
    }

    #[test]
    fn a_directory_without_a_package_is_named() {
        let error = component(Path::new("/no/such/package"), Path::new("/no/such/target")).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/package is no Rust package: it has no Cargo.toml");
    }

    #[test]
    fn a_module_without_a_world_is_no_component() {
        assert!(encode(b"\0asm\x01\0\0\0").is_ok_and(|component| component[6] == 1), "an empty component");
        assert!(encode(b"not wasm").is_err());
    }

    #[test]
    fn all_guests_share_one_directory() {
        for inside in [
            "/build/berth/target/debug/build/berth-plugins-f1952cc6/out",
            "/build/berth/target/debug/deps/sandbox-f1952cc6",
            "/build/berth/target/release/examples/decisions",
            "/build/berth/target/debug/berth-guest-build",
        ] {
            assert_eq!(
                shared_target_dir(Path::new(inside)),
                Path::new("/build/berth/target/guests"),
                "{inside}"
            );
        }
    }
}
