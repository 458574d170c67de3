//! Every power a component can have: the only place that grants any.

use crate::bindings::{self, log};
use crate::log_limit::Admitted;
use crate::sandbox::{Sandbox, one_line};
use std::time::Instant;
use wasmtime::component::{HasSelf, Linker};

/// Names of the contract's interfaces that a component may import. `types` holds no functions.
const GRANTED: [&str; 2] = ["log", "types"];

/// The host's side of all granted imports.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    log::add_to_linker::<Sandbox, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    Ok(linker)
}

/// The imports that are not granted.
pub(crate) fn ungranted<'a>(imports: impl Iterator<Item = &'a str>) -> Vec<String> {
    let granted = GRANTED.map(bindings::interface);
    imports.filter(|import| !granted.iter().any(|name| name == import)).map(str::to_owned).collect()
}

impl log::Host for Sandbox {
    fn write(&mut self, level: u32, line: String) {
        let line = one_line(&line);
        if level == 1 {
            self.last_error = Some(line.clone());
        }
        let plugin = &self.name;
        match self.log_limit.admit(Instant::now()) {
            Admitted::No => return,
            Admitted::After { dropped: 0 } => {}
            Admitted::After { dropped } => tracing::warn!(%plugin, "{dropped} lines were not logged"),
        }
        match level {
            1 | 2 => tracing::warn!(%plugin, "{line}"),
            3 => tracing::info!(%plugin, "{line}"),
            _ => tracing::debug!(%plugin, "{line}"),
        }
    }
}
