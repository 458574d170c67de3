//! A controller in one file: deletes ConfigMaps when their time is over, unless a pod says that it needs them.

use std::sync::Arc;

use berth_control::{Controller, EventKind, EventNote, Hears, Look, News, Outcome, Step, Wake};
use berth_state::{Key, Stored};

/// The label of a ConfigMap that says how many seconds it is to last.
const LASTS: &str = "example.dev/lasts";
/// The label of a pod that names the ConfigMap it needs.
const NEEDS: &str = "example.dev/needs";

pub(crate) struct TimeToLive;

impl Controller for TimeToLive {
    fn name(&self) -> &'static str {
        "time-to-live-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["configmaps", "pods"])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let key = news.key();
        if news.resource() == "configmaps" {
            return wake.up(key);
        }
        // A pod that is gone, or needs another one now, concerns the one that it needed.
        for needed in
            [news.old(), Some(news.latest())].into_iter().flatten().filter_map(|pod| pod.label(NEEDS))
        {
            wake.up(&Key::new("configmaps", key.namespace.clone(), needed));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, map: &Arc<Stored>) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(seconds) = map.label(LASTS).and_then(|text| text.parse::<i64>().ok()) else {
            return outcome;
        };
        let name = &*map.key.name;
        if look.state.list("pods", &map.key.namespace).any(|pod| pod.label(NEEDS) == Some(name)) {
            return outcome;
        }
        let created = map.meta().creation_timestamp.unwrap_or(look.now);
        let over = created.plus_millis(seconds.saturating_mul(1000));
        if over > look.now {
            outcome.look_again(over);
            return outcome;
        }
        let before = look.failure.map(|why| format!(" at last: {why}")).unwrap_or_default();
        let note = EventNote::new(map, EventKind::Normal, "TimeOver", format!("Deleted {name}{before}"));
        outcome.push(Step::new(look.writer.delete(map, "Background")).telling(note).optional());
        outcome
    }
}
