//! Event expiry: what was told long ago is forgotten.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_state::Stored;
use serde::Deserialize;

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
        // What cannot be read was never told again.
        let told: Told = serde_json::from_slice(event.bytes()).unwrap_or_default();
        let last = last_seen(&told, event.meta().creation_timestamp, now);
        let expires = last.unwrap_or(now).plus_millis(EVENT_TTL_MS);
        if expires <= now {
            outcome.push(Step::new(writer.delete(event, "Background")).optional());
        } else {
            outcome.look_again(expires);
        }
        outcome
    }
}

/// What of an event says when it happened. Events are many and this is asked once a version, so it is no view.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Told {
    last_timestamp: Option<String>,
    event_time: Option<String>,
}

/// When an event was made or last repeated, whichever is later: a client may tell of what happened long ago. What is to
/// happen yet counts when it has: a client whose clock is ahead cannot keep its events for ever.
fn last_seen(told: &Told, created: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let times = [&told.last_timestamp, &told.event_time].into_iter().flatten();
    times.filter_map(|text| Timestamp::parse(text)).filter(|told| *told <= now).chain(created).max()
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_counts_from_its_making_or_its_last_repeat() {
        let of = |event: Value| berth_json::from_value::<Told>(&event).unwrap();
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let created = Some(at("2026-01-01T10:00:00Z"));
        let old = json!({"lastTimestamp": "2024-01-01T00:00:00Z", "eventTime": null});
        let now = at("2026-01-01T11:00:00Z");
        assert_eq!(last_seen(&of(old), created, now), created);
        assert_eq!(last_seen(&of(json!({"lastTimestamp": "2090-01-01T00:00:00Z"})), created, now), created);
        let repeated = json!({"lastTimestamp": "2026-01-01T10:30:00Z"});
        assert_eq!(last_seen(&of(repeated), created, now), Some(at("2026-01-01T10:30:00Z")));
        assert_eq!(last_seen(&of(json!({})), None, now), None);
    }
}
