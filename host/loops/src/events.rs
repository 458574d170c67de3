//! Writing events beside the work, never in its way.

use std::time::Duration;

use berth_api::Timestamp;
use berth_cluster::Leader;
use berth_control::{EventNote, Recorder};
use berth_pipeline::Verb;
use tokio::sync::mpsc;

/// Events that wait to be written, some 8 MB of them; more are dropped: an event is a courtesy.
const WAITING_MAX: usize = 16_384;

/// Events of one component that go to the disk together: as many as a round of the scheduler places.
const TOGETHER_MAX: usize = 256;

/// The pause for each event that was written: a component writes at most 1,000 a second, so that a burst of them leaves
/// the disk and the processor to the work that they tell of. kube-scheduler's client allows itself 50.
const PAUSE_PER_EVENT: Duration = Duration::from_millis(1);

/// Takes events of one component.
#[derive(Clone)]
pub struct EventSink {
    leader: Leader,
    waiting: mpsc::Sender<(EventNote, Timestamp)>,
}

impl EventSink {
    /// Starts the writer of `component`'s events; it ends with the last clone of the sink.
    pub fn start(leader: Leader, component: &'static str) -> Self {
        let (waiting, mut notes) = mpsc::channel(WAITING_MAX);
        let mut recorder = Recorder::new(component, leader.catalogue());
        let sink = Self { leader: leader.clone(), waiting };
        leader.executor().clone().spawn("events", async move {
            let mut taken = Vec::with_capacity(TOGETHER_MAX);
            while notes.recv_many(&mut taken, TOGETHER_MAX).await > 0 {
                let pause = PAUSE_PER_EVENT.saturating_mul(u32::try_from(taken.len()).unwrap_or(u32::MAX));
                let requests = taken.drain(..).filter_map(|(note, at)| recorder.record(note, at));
                // A repeat is counted in an event that may be among the new ones.
                let (new, repeats): (Vec<_>, Vec<_>) = requests.partition(|r| r.verb == Verb::Create);
                for requests in [new, repeats] {
                    for error in leader.apply_each(requests).await.into_iter().filter_map(Result::err) {
                        tracing::debug!(component, "an event could not be written: {error}");
                    }
                }
                leader.executor().sleep(pause).await;
            }
        });
        sink
    }

    /// Hands over an event that happens now; drops it when too many wait.
    pub fn tell(&self, note: EventNote) {
        self.tell_of(note, self.leader.now());
    }

    /// Hands over an event of a moment that may be past: what follows from it elsewhere may have been told already, and is
    /// listed behind it.
    pub fn tell_of(&self, note: EventNote, at: Timestamp) {
        if self.waiting.try_send((note, at)).is_err() {
            tracing::debug!("too many events wait to be written; one was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use berth_api::kinds;
    use berth_cluster::{Cluster, Config, Interest};
    use berth_control::EventKind;
    use berth_state::{Fence, Key, MemoryStore};
    use berth_tasks::{Clock, Executor, Tokio};

    use super::*;

    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
        }
    }

    /// A leader of a lease that nobody contests, and its clock.
    async fn leader() -> (Leader, Arc<SetClock>) {
        let clock = Arc::new(SetClock(AtomicI64::new(1_000)));
        let executor = Executor::new(Arc::new(Tokio), clock.clone());
        let config = Config { executor, ..Config::new(Arc::new(kinds::catalogue())) };
        let cluster = Cluster::start(MemoryStore::new(), config).await.unwrap();
        let writer = berth_control::Writer::new("test", cluster.catalogue());
        let metadata = berth_json::json!({"name": "lead", "namespace": "kube-system"});
        let object = berth_json::json!({"metadata": metadata, "spec": {"leaseTransitions": 1}});
        cluster.apply(writer.create("leases.coordination.k8s.io", "kube-system", object)).await.unwrap();
        let lease = Key::new("leases.coordination.k8s.io", "kube-system", "lead");
        (Leader::new(cluster, Fence { lease, epoch: "1".to_owned() }), clock)
    }

    /// One thread: nothing is written before the test waits.
    #[tokio::test]
    async fn an_event_bears_the_time_at_which_it_was_told() {
        let (leader, clock) = leader().await;
        let sink = EventSink::start(leader.clone(), "default-scheduler");
        let mut woken = leader.subscribe("events", Interest::All);
        sink.tell(EventNote {
            about: Key::new("pods", "default", "p"),
            uid: "u".to_owned(),
            kind: EventKind::Normal,
            reason: "Scheduled",
            message: String::new(),
        });
        clock.0.store(2_000, Ordering::Relaxed);
        tokio::time::timeout(Duration::from_secs(60), woken.changed()).await.unwrap();
        let event = leader.read(|state| state.list("events", "default").next().cloned()).unwrap();
        let text = String::from_utf8_lossy(event.bytes()).into_owned();
        let told = Timestamp::from_seconds(1_000).rfc3339();
        assert!(text.contains(&format!("\"firstTimestamp\":\"{told}\"")), "{text}");
    }
}
