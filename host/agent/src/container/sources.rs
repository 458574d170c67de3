//! The config maps and secrets that pods of this node use: each followed once, however many pods use it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use berth_client::{ApiResource, Client, Followed, ListOptions};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a container start waits to learn whether an object exists; the kubelet gives up after a similar time.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);

/// A kind of object that holds keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SourceKind {
    ConfigMap,
    Secret,
}

impl SourceKind {
    /// As messages name it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            SourceKind::ConfigMap => "configmap",
            SourceKind::Secret => "secret",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            SourceKind::ConfigMap => ApiResource::CONFIG_MAPS,
            SourceKind::Secret => ApiResource::SECRETS,
        }
    }
}

/// One object, in its pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceName {
    pub(crate) kind: SourceKind,
    pub(crate) name: String,
}

/// What objects hold; `None` for one that does not exist.
pub(crate) type Objects = BTreeMap<SourceName, Option<Arc<Value>>>;

/// The last known answer; `None` until there is one.
type Answer = Option<Option<Arc<Value>>>;

/// Keeps one object up to date as long as somebody holds it.
pub(crate) struct Source {
    answer: watch::Receiver<Answer>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    /// The object; waits for the first answer.
    async fn get(&self, name: &SourceName) -> Result<Option<Arc<Value>>, String> {
        let mut answer = self.answer.clone();
        let first = tokio::time::timeout(FIRST_ANSWER_MAX, answer.wait_for(Option::is_some)).await;
        match first {
            Ok(Ok(answer)) => Ok(answer.clone().flatten()),
            _ => {
                Err(format!("failed to sync {} cache: timed out waiting for the condition", name.kind.word()))
            }
        }
    }

    /// Resolves when it has changed since the last look of `seen`.
    pub(crate) fn changes(&self) -> watch::Receiver<Answer> {
        self.answer.clone()
    }
}

/// All sources in use on this node.
pub(crate) struct Sources {
    client: Client,
    known: Mutex<HashMap<(String, SourceName), Weak<Source>>>,
}

impl Sources {
    pub(crate) fn new(client: Client) -> Sources {
        Sources { client, known: Mutex::default() }
    }

    /// Follows an object from now on, until nobody holds what is returned.
    pub(crate) fn follow(&self, namespace: &str, name: &SourceName) -> Arc<Source> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.clone());
        if let Some(source) = known.get(&key).and_then(Weak::upgrade) {
            return source;
        }
        known.retain(|_, source| source.strong_count() > 0);
        let (sender, answer) = watch::channel(None);
        let task = tokio::spawn(follow(self.client.clone(), namespace.to_owned(), name.clone(), sender));
        let source = Arc::new(Source { answer, task });
        known.insert(key, Arc::downgrade(&source));
        source
    }
}

async fn follow(client: Client, namespace: String, name: SourceName, sender: watch::Sender<Answer>) {
    let options = ListOptions::fields(format!("metadata.name={}", name.name));
    let mut follow = client.follow(name.kind.resource(), &namespace, options);
    loop {
        let object = match follow.next().await {
            Followed::Replaced(objects) => objects.into_iter().next(),
            Followed::Applied(object) => Some(object),
            Followed::Deleted(_) => None,
        };
        sender.send_if_modified(|answer| {
            let before = answer.as_ref().map(|known| known.as_deref().map(data));
            let same = before == Some(object.as_ref().map(data));
            *answer = Some(object.map(Arc::new));
            !same
        });
    }
}

/// The parts that containers see.
fn data(object: &Value) -> (&Value, &Value) {
    (&object["data"], &object["binaryData"])
}

/// The sources of one pod, held as long as the pod is on this node.
pub(crate) struct PodSources {
    namespace: String,
    held: Mutex<BTreeMap<SourceName, Arc<Source>>>,
    /// Becomes greater whenever a held source changes.
    changed: watch::Sender<u64>,
}

impl PodSources {
    pub(crate) fn new(namespace: &str) -> PodSources {
        PodSources { namespace: namespace.to_owned(), held: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Tells of changes to any source that has been looked at.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks at objects, all at once.
    ///
    /// # Errors
    /// When the server does not say whether one exists.
    pub(crate) async fn get(
        &self,
        sources: &Sources,
        names: impl IntoIterator<Item = SourceName>,
    ) -> Result<Objects, String> {
        let mut objects = Objects::new();
        let wanted: Vec<_> = names.into_iter().map(|name| (self.keep(sources, &name), name)).collect();
        for (source, name) in wanted {
            let object = source.get(&name).await?;
            objects.insert(name, object);
        }
        Ok(objects)
    }

    fn keep(&self, sources: &Sources, name: &SourceName) -> Arc<Source> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = held.get(name) {
            return Arc::clone(source);
        }
        let source = sources.follow(&self.namespace, name);
        held.insert(name.clone(), Arc::clone(&source));
        let (mut answers, changed) = (source.changes(), self.changed.clone());
        let first_known = answers.borrow_and_update().is_some();
        // Ends with the source: its sender is gone then.
        tokio::spawn(async move {
            let mut known = first_known;
            while answers.changed().await.is_ok() {
                // The first answer is what the one who asked is waiting for.
                if std::mem::replace(&mut known, true) {
                    changed.send_modify(|count| *count += 1);
                }
            }
        });
        source
    }
}
