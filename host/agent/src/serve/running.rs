//! Following one instance of a container until it ends.

use berth_client::ExitStatus;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::container::logs;
use crate::pod::worker::View;

/// One instance of a container, watched until it ends.
pub(crate) struct Running {
    pub(crate) view: watch::Receiver<View>,
    pub(crate) container: String,
    pub(crate) container_id: String,
}

impl Running {
    fn runs(&self, view: &View) -> bool {
        let record = view.observed.record(&self.container);
        record.running().is_some_and(|running| running.id == self.container_id)
    }

    /// How it ended; waits for that.
    pub(crate) async fn exit(&mut self) -> Option<ExitStatus> {
        logs::Alive::ended(self).await;
        let view = self.view.borrow().clone();
        let record = view.observed.record(&self.container);
        let ends = [record.exited(), record.last.as_ref()];
        let end = ends.into_iter().flatten().find(|end| end.id == self.container_id)?;
        Some(if end.signal == 0 { ExitStatus::Code(end.exit_code) } else { ExitStatus::Signal(end.signal) })
    }
}

impl logs::Alive for Running {
    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let view = self.view.borrow_and_update().clone();
                if !self.runs(&view) {
                    return;
                }
                // The worker is gone: so is the pod.
                if self.view.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}
