//! Lines for the operator: in the sandbox they go to the host's log, natively to standard error.

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is wrong.
    Error = 1,
    /// Something may be wrong.
    Warning = 2,
    /// Worth knowing.
    Info = 3,
    /// For the plugin's author.
    Debug = 4,
}

/// Writes one line. The host cuts long lines and drops lines past a rate.
pub fn write(level: Level, line: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::wasm::bindings::berth::policy::log::write(level as u32, line);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {line}");
}
