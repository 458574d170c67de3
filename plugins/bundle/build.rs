//! Compiles the built-in policies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const POLICIES: [&str; 10] = [
    "spread",
    "binpack",
    "image-policy",
    "label-policy",
    "limits-defaulter",
    "pod-security",
    "target-utilisation",
    "predictive",
    "step",
    "schedule",
];

/// What the components are made of besides their own packages, seen from this one.
const SOURCES: [&str; 3] = ["../../sdk/rust", "../../wit", "../../Cargo.lock"];

fn main() -> ExitCode {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    for policy in POLICIES {
        println!("cargo::rerun-if-changed=../{policy}");
    }
    match POLICIES.iter().try_for_each(|policy| build(policy)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.to_string().replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}

fn build(policy: &str) -> Result<(), Box<dyn std::error::Error>> {
    let out: PathBuf = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?.into();
    let package = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("..").join(policy);
    let target_dir = berth_guest_build::shared_target_dir(&out);
    let component = berth_guest_build::component(&package, &target_dir)?;
    std::fs::write(out.join(policy).with_extension("wasm"), component)?;
    Ok(())
}
