//! Loading components, each compiled in a process of its own when it is seen first.

use std::process::Stdio;
use std::sync::Arc;

use berth_lifecycle::{Component as Loaded, LoadError, Loader, Loading};
use berth_policy::{COMPILE_ARGUMENT, COMPILED_BYTES_MAX, CompileLimits, Component, Engine, Limits};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

/// Components that are compiled at a time: each takes all processors as it is, and up to a gigabyte.
const COMPILATIONS_MAX: usize = 2;
/// Bytes of what a compiler says that are read.
const SAID_BYTES_MAX: u64 = 4_096;

/// Of a program that was replaced on the disk this is still the old one, whose compiled code the engine understands.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Loads components. What it does ends when nobody waits for it any more.
pub(crate) struct Compiler {
    engine: Arc<Engine>,
    places: Semaphore,
}

impl Compiler {
    /// A compiler for an engine, which starts this program once more for each component: it must call
    /// [`berth_policy::compile_main_if_asked`] first.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, places: Semaphore::new(COMPILATIONS_MAX) }
    }

    /// Makes a component of bytes that may come from anywhere.
    ///
    /// # Errors
    /// When they are none, or compiling them takes more than it may.
    pub(crate) async fn load(&self, bytes: Bytes, limits: Limits) -> Result<Component, LoadError> {
        let (engine, same) = (self.engine.clone(), bytes.clone());
        if let Some(component) = blocking(move || engine.load_known(&same, limits)).await? {
            return Ok(component);
        }
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let code = self.compile(&bytes).await?;
        let engine = self.engine.clone();
        // SAFETY: the code was written by this very program, as it was started above, to a pipe that nobody else has.
        blocking(move || unsafe { engine.load_compiled(&bytes, &code, limits) }).await
    }

    async fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        let machine = |error: std::io::Error| not_compiled(&error);
        let mut command = Command::new(THIS_PROGRAM);
        let limits = CompileLimits::default();
        command.arg0(COMPILE_ARGUMENT).args(limits.arguments()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(machine)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_compiled(&"the compiler has no pipes"));
        };
        let (mut code, mut said) = (Vec::new(), String::new());
        let length = (bytes.len() as u64).to_le_bytes();
        // One that ends before it has read everything says why.
        let _sent = async {
            stdin.write_all(&length).await?;
            stdin.write_all(bytes).await
        }
        .await;
        stdout.take(COMPILED_BYTES_MAX).read_to_end(&mut code).await.map_err(machine)?;
        stderr.take(SAID_BYTES_MAX).read_to_string(&mut said).await.map_err(machine)?;
        let status = child.wait().await.map_err(machine)?;
        drop(stdin); // open until now: at its end the compiler would give up
        match limits.explain_end(status, &said) {
            None => Ok(code),
            Some(why) => Err(LoadError::Refused(why)),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, berth_policy::LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| LoadError::Refused(error.to_string())),
        Err(panic) => Err(not_compiled(&format!("the host failed: {panic}"))),
    }
}

fn not_compiled(why: &dyn std::fmt::Display) -> LoadError {
    LoadError::Machine(format!("the component could not be compiled: {why}"))
}

impl Loader for Compiler {
    fn load(&self, bytes: Bytes, limits: berth_lifecycle::Limits) -> Loading<'_> {
        let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let limits = Limits::new(memory, limits.deadline_ms);
        Box::pin(async move {
            let component = Self::load(self, bytes, limits).await?;
            Ok(Arc::new(component) as Arc<dyn Loaded>)
        })
    }
}
