//! Event expiry: what was told long ago is forgotten.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_json::Value;
use berth_state::Stored;

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::outcome::{Outcome, Step};

/// How long an event is kept after its last repeat: kube-apiserver's `--event-ttl`.
const EVENT_TTL_MS: i64 = 3_600_000;

/// Deletes an event when nobody repeated it for [`EVENT_TTL_MS`].
pub(crate) struct EventExpiry;

impl Controller for EventExpiry {
    fn name(&self) -> &'static str {
        "event-expiry-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["events"])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        wake.up(news.key());
    }

    fn reconcile(&mut self, look: &Look<'_>, event: &Arc<Stored>) -> Outcome {
        let mut outcome = Outcome::default();
        let Look { writer, now, .. } = *look;
        let last = last_seen(&writer.value(event), event.meta().creation_timestamp, now);
        let expires = last.unwrap_or(now).plus_millis(EVENT_TTL_MS);
        if expires <= now {
            outcome.push(Step::new(writer.delete(event, "Background")).optional());
        } else {
            outcome.look_again(expires);
        }
        outcome
    }
}

/// When an event was made or last repeated, whichever is later: a client may tell of what happened long ago. What is to
/// happen yet counts when it has: a client whose clock is ahead cannot keep its events for ever.
fn last_seen(event: &Value, created: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let told = ["lastTimestamp", "eventTime"].map(|key| event[key].as_str().and_then(Timestamp::parse));
    told.into_iter().flatten().filter(|told| *told <= now).chain(created).max()
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::*;

    #[test]
    fn an_event_counts_from_its_making_or_its_last_repeat() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let created = Some(at("2026-01-01T10:00:00Z"));
        let old = json!({"lastTimestamp": "2024-01-01T00:00:00Z", "eventTime": null});
        let now = at("2026-01-01T11:00:00Z");
        assert_eq!(last_seen(&old, created, now), created);
        assert_eq!(last_seen(&json!({"lastTimestamp": "2090-01-01T00:00:00Z"}), created, now), created);
        let repeated = json!({"lastTimestamp": "2026-01-01T10:30:00Z"});
        assert_eq!(last_seen(&repeated, created, now), Some(at("2026-01-01T10:30:00Z")));
        assert_eq!(last_seen(&json!({}), None, now), None);
    }
}
