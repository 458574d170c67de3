//! Writing events beside the work, never in its way.

use std::sync::Arc;

use berth_control::{EventNote, Recorder};
use berth_pipeline::cluster::Cluster;
use tokio::sync::{Semaphore, mpsc};

/// Events that wait to be written; more are dropped: an event is a courtesy, and must not hold up or crowd out work.
const WAITING_MAX: usize = 1_024;

/// Events of one component under way to the disk together.
const TOGETHER_MAX: usize = 32;

/// Takes events of one component.
#[derive(Clone)]
pub struct EventSink {
    waiting: mpsc::Sender<EventNote>,
}

impl EventSink {
    /// Starts the writer of `component`'s events; it ends with the last clone of the sink.
    pub fn start(cluster: Arc<Cluster>, component: &'static str) -> Self {
        let (waiting, mut notes) = mpsc::channel(WAITING_MAX);
        let together = Arc::new(Semaphore::new(TOGETHER_MAX));
        let mut recorder = Recorder::new(component, cluster.catalogue().clone());
        tokio::spawn(async move {
            while let Some(note) = notes.recv().await {
                let Some(request) = recorder.record(note, cluster.now()) else { continue };
                let Ok(permit) = together.clone().acquire_owned().await else { return };
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    if let Err(error) = cluster.apply(request).await {
                        tracing::debug!(component, "an event could not be written: {error}");
                    }
                    drop(permit);
                });
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
