//! Compiles one Rust policy to a Wasm component: `berth-guest-build <package directory> <output file>`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [package, output] = &arguments[..] else {
        eprintln!("usage: berth-guest-build <package directory> <output file>");
        return ExitCode::from(2);
    };
    match build(package, output) {
        Ok(size) => {
            println!("{}: {} KiB", output.display(), size / 1024);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("berth-guest-build: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(package: &Path, output: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let program = std::env::current_exe()?;
    let component = berth_guest_build::component(package, &berth_guest_build::shared_target_dir(&program))?;
    std::fs::write(output, &component)
        .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    Ok(component.len())
}
