//! Plugins under virtual time: components that are texts, and the administrator who uploads and binds them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_admission::Reviewer;
use berth_api::{Catalogue, Reason};
use berth_autoscale::Recommender;
use berth_control::Writer;
use berth_json::{Value, json};
use berth_lifecycle::{Component, Limits, LoadError, Loader, Loading, RoleName, StartFailure};
use berth_scheduler::policy::Policy;
use berth_state::Key;
use berth_tasks::Executor;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Ask, Reply};
use crate::policy::{SimulatedPolicy, Style, Tap};
use crate::randomness::{Purpose, Random};

/// The profile that is bound, by a binding of the same name.
pub(crate) const PROFILE: &str = "default-scheduler";
/// Compiling takes about this long, in milliseconds.
const COMPILE_MS: i64 = 300;
/// How long the administrator waits before he repeats what was not answered well.
const AGAIN: Duration = Duration::from_millis(700);
/// How often he repeats it: longer than any fault lasts.
const ATTEMPTS_MAX: u32 = 200;
const PLUGINS: &str = "plugins.berth.dev";
const BINDINGS: &str = "pluginbindings.berth.dev";

/// What a component is and does, as its bytes say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) style: Style,
    /// Of a thousand calls so many fail.
    pub(crate) failing_permille: u32,
}

impl Recipe {
    fn bytes(self) -> Bytes {
        format!("{:?} {}", self.style, self.failing_permille).into()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (style, failing) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        let style = Style::ALL.into_iter().find(|known| format!("{known:?}") == style)?;
        Some(Self { style, failing_permille: failing.parse().ok()? })
    }
}

/// Where all servers get their policies made.
#[derive(Clone)]
pub(crate) struct Workshop(Arc<Shared>);

/// Makes policies of recipes in one server's process.
pub(crate) struct SimulatedLoader {
    shared: Arc<Shared>,
    executor: Executor,
}

struct Shared {
    seed: u64,
    /// Counts what was loaded and started, so that each has randomness of its own.
    made: Mutex<u64>,
    tap: Tap,
}

impl Workshop {
    pub(crate) fn new(seed: u64, tap: Tap) -> Self {
        Self(Arc::new(Shared { seed, made: Mutex::default(), tap }))
    }

    pub(crate) fn loader(&self, executor: Executor) -> SimulatedLoader {
        SimulatedLoader { shared: self.0.clone(), executor }
    }
}

impl Shared {
    fn random(&self) -> Random {
        let mut made = lock(&self.made);
        *made += 1;
        Random::new(self.seed, Purpose::Policy(*made))
    }
}

impl Loader for SimulatedLoader {
    fn load(&self, bytes: Bytes, _: Limits) -> Loading<'_> {
        Box::pin(async move {
            let mut random = self.shared.random();
            let takes = random.delay_ms(COMPILE_MS).unsigned_abs();
            self.executor.sleep(Duration::from_millis(takes)).await;
            let recipe = Recipe::read(&bytes).ok_or_else(|| LoadError::Refused("not a recipe".to_owned()))?;
            if recipe.style == Style::Broken {
                return Err(LoadError::Refused("it cannot be compiled".to_owned()));
            }
            if random.chance(recipe.failing_permille / 2) {
                return Err(LoadError::Machine("no memory".to_owned()));
            }
            Ok(Arc::new(SimulatedComponent { recipe, shared: self.shared.clone() }) as Arc<dyn Component>)
        })
    }
}

struct SimulatedComponent {
    recipe: Recipe,
    shared: Arc<Shared>,
}

impl Component for SimulatedComponent {
    fn role(&self) -> RoleName {
        RoleName::Scheduler
    }

    fn scheduler(&self, _: &str, _: &str) -> Result<Box<dyn Policy>, StartFailure> {
        let Recipe { style, failing_permille } = self.recipe;
        let mut random = self.shared.random();
        if style == Style::Picky {
            return Err(StartFailure::Refused("the configuration does not please it".to_owned()));
        }
        if random.chance(failing_permille) {
            return Err(StartFailure::Failed("it trapped in its start".to_owned()));
        }
        let tap = self.shared.tap.clone();
        Ok(Box::new(SimulatedPolicy::new(style, failing_permille, random, tap)))
    }

    fn admission(&self, _: &str, _: &str) -> Result<Arc<dyn Reviewer>, StartFailure> {
        Err(StartFailure::Refused("it schedules".to_owned()))
    }

    fn autoscaler(&self, _: &str, _: &str) -> Result<Arc<dyn Recommender>, StartFailure> {
        Err(StartFailure::Refused("it schedules".to_owned()))
    }

    fn config_schema(&self) -> Result<String, StartFailure> {
        Ok(String::new())
    }
}

/// What the administrator wants to be sent, and who waits for the answer.
pub(crate) type Sent = Arc<Mutex<Vec<(Ask, oneshot::Sender<Reply>)>>>;

/// What the administrator is to bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) recipe: Recipe,
    pub(crate) failure_policy: &'static str,
}

/// One who binds what he is told to, one thing after another.
pub(crate) struct Admin {
    writer: Writer,
    sent: Sent,
    executor: Executor,
}

impl Admin {
    pub(crate) fn new(catalogue: Arc<Catalogue>, sent: Sent, executor: Executor) -> Self {
        Self { writer: Writer::new("admin", catalogue), sent, executor }
    }

    pub(crate) async fn work(self, mut wishes: mpsc::UnboundedReceiver<Wish>) {
        while let Some(wish) = wishes.recv().await {
            self.fulfil(wish).await;
        }
    }

    async fn fulfil(&self, wish: Wish) {
        let Some(Reply::Uploaded(Ok(digest))) = self.insist(&Ask::Upload(wish.recipe.bytes())).await else {
            return;
        };
        let name = format!("{:?}", wish.recipe.style).to_lowercase();
        self.write(PLUGINS, &name, &json!({"digest": digest})).await;
        let binding = json!({
            "role": "scheduler", "profile": PROFILE, "plugin": name, "failurePolicy": wish.failure_policy,
        });
        self.write(BINDINGS, PROFILE, &binding).await;
    }

    /// Makes the object have this spec.
    async fn write(&self, resource: &str, name: &str, spec: &Value) {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let create = Ask::Write(Box::new(self.writer.create(resource, "", object)));
        if let Some(Reply::Written(Err(status))) = self.insist(&create).await
            && status.reason == Reason::AlreadyExists
        {
            let patch = self.writer.merge(&Key::new(resource, "", name), "", &json!({"spec": spec}));
            self.insist(&Ask::Write(Box::new(patch))).await;
        }
    }

    /// Asks until there is an answer that is more than that the server is not well.
    async fn insist(&self, ask: &Ask) -> Option<Reply> {
        for _ in 0..ATTEMPTS_MAX {
            let (answer, answered) = oneshot::channel();
            lock(&self.sent).push((ask.clone(), answer));
            match answered.await {
                Ok(Reply::Written(Err(status)) | Reply::Uploaded(Err(status))) if status.code == 503 => {}
                Ok(reply) => return Some(reply),
                Err(_) => {}
            }
            self.executor.sleep(AGAIN).await;
        }
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
