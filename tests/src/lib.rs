//! What the whole-system tests share: a cluster of their own each, the real kubectl, and waiting for conditions.
//!
//! Invariant: whatever a test starts is gone when the test ends, also when it fails; so is every file it made.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod cluster;
mod command;
mod registry;
mod skip;
mod wait;

pub use cluster::{Agent, Berth, Options};
pub use command::{Background, Output, run};
pub use registry::Registry;
pub use skip::{skip, skip_unprepared};
pub use wait::{eventually, holds};

use std::path::{Path, PathBuf};

/// The root of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The program under test: `$BERTH`, or the one cargo put beside this test.
pub fn program() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("berth");
    let program = std::env::var_os("BERTH").map_or_else(beside, PathBuf::from);
    assert!(program.is_file(), "{} is not there: run `cargo build --workspace` first", program.display());
    program
}

/// A real, unmodified kubectl: `$KUBECTL`, or the one that the set-up finds or makes.
pub fn kubectl() -> &'static Path {
    static KUBECTL: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    KUBECTL.get_or_init(|| match std::env::var_os("KUBECTL") {
        Some(path) => path.into(),
        None => {
            let script = repository().join("tests/setup/kubectl.sh");
            let output = std::process::Command::new(&script).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().into()
        }
    })
}

/// A real, unmodified Helm 4: `$HELM`, or the one that the set-up finds or makes; none where it can do neither.
///
/// # Panics
/// Where there is none and `$CI` is set.
pub fn helm(test: &str) -> Option<&'static Path> {
    static HELM: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    let helm = HELM.get_or_init(|| match std::env::var_os("HELM") {
        Some(path) => Ok(path.into()),
        None => {
            let script = repository().join("tests/setup/helm.sh");
            let output = std::process::Command::new(&script).output().unwrap();
            match output.status.success() {
                true => Ok(String::from_utf8(output.stdout).unwrap().trim().into()),
                false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        }
    });
    helm.as_deref().map_err(|why| skip_unprepared(test, why)).ok()
}

/// A file with the component of a package of this repository, compiled when it is asked for first.
pub fn component(package: &str) -> PathBuf {
    static COMPILING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = berth_guest_build::shared_target_dir(&std::env::current_exe().unwrap());
    let bytes = berth_guest_build::component(&repository().join(package), &target).unwrap();
    let file = target.join(format!("{}.wasm", Path::new(package).file_name().unwrap().to_str().unwrap()));
    // In one step: the tests of another program may be reading it.
    let temporary = file.with_extension(std::process::id().to_string());
    std::fs::write(&temporary, bytes).unwrap();
    std::fs::rename(&temporary, &file).unwrap();
    file
}

/// The directory with the test images, made on first use.
pub fn images() -> &'static Path {
    static IMAGES: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    IMAGES.get_or_init(|| {
        let directory = repository().join("target/images");
        let archives = ["my-app-v1.tar", "my-app-v2.tar", "busybox.tar", "busybox-oci.tar"];
        if !archives.iter().all(|archive| directory.join(archive).is_file()) {
            let script = repository().join("tests/images/build.sh");
            let output = std::process::Command::new(script).arg(&directory).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        directory
    })
}
