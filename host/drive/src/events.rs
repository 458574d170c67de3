//! Writing events beside the work, never in its way.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{EventNote, Recorder};
use berth_pipeline::Verb;
use berth_pipeline::cluster::Cluster;
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
    waiting: mpsc::Sender<EventNote>,
}

impl EventSink {
    /// Starts the writer of `component`'s events; it ends with the last clone of the sink.
    pub fn start(cluster: Arc<Cluster>, component: &'static str) -> Self {
        let (waiting, mut notes) = mpsc::channel(WAITING_MAX);
        let mut recorder = Recorder::new(component, cluster.catalogue().clone());
        tokio::spawn(async move {
            let mut taken = Vec::with_capacity(TOGETHER_MAX);
            while notes.recv_many(&mut taken, TOGETHER_MAX).await > 0 {
                let pause = PAUSE_PER_EVENT.saturating_mul(u32::try_from(taken.len()).unwrap_or(u32::MAX));
                let now = cluster.now();
                let requests = taken.drain(..).filter_map(|note| recorder.record(note, now));
                // A repeat is counted in an event that may be among the new ones.
                let (new, repeats): (Vec<_>, Vec<_>) = requests.partition(|r| r.verb == Verb::Create);
                for requests in [new, repeats] {
                    for error in cluster.apply_each(requests).await.into_iter().filter_map(Result::err) {
                        tracing::debug!(component, "an event could not be written: {error}");
                    }
                }
                tokio::time::sleep(pause).await;
            }
        });
        Self { waiting }
    }

    /// Hands over an event; drops it when too many wait.
    pub fn tell(&self, note: EventNote) {
        if self.waiting.try_send(note).is_err() {
            tracing::debug!("too many events wait to be written; one was dropped");
        }
    }
}
