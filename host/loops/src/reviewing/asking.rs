//! Asking a policy about a write.

use std::sync::Arc;
use std::time::Duration;

use berth_admission::{FailurePolicy, Judged, Mutates, Request, Rules, Subject, judge};
use berth_api::status::Details;
use berth_api::{Reason, Resource, Status};
use berth_json::Value;
use berth_pipeline::{Ids, Review, Verb};

use super::installed::Installed;
use super::{Reviews, namespace_labels, operation};

/// Time that a write may spend with all its policies. A controller's write waits as long, and a client that waits longer than a
/// few seconds gives up.
const BUDGET: Duration = Duration::from_secs(3);
/// After how many seconds a client whose policy does not run yet is to try again: a component that is in the cache of compiled
/// code is back in milliseconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A policy that a write concerns.
pub(super) struct Asked<'s> {
    /// Its binding.
    pub(super) name: &'s str,
    pub(super) order: i32,
    pub(super) failure_policy: FailurePolicy,
    pub(super) mutates: Mutates,
    /// `None` when it does not run.
    pub(super) installed: Option<Arc<Installed>>,
    /// What the policy that served last asked about.
    pub(super) remembered: Option<&'s Rules>,
}

impl Asked<'_> {
    /// Whether the policy wants to be asked about a write.
    pub(super) fn is_concerned(&self, review: &Review<'_>, object: &Value) -> bool {
        let rules = self.installed.as_ref().map(|installed| installed.rules()).or(self.remembered);
        let subject = Subject {
            operation: operation(review.verb),
            group: &review.resource.group,
            resource: &review.resource.plural,
            sub_resource: review.subresource,
            namespace: review.namespace,
            namespace_labels: &|| namespace_labels(review, object),
            objects: [Some(object), review.old],
        };
        rules.is_some_and(|rules| rules.matches(&subject))
    }
}

/// One write, for all policies that are asked about it.
pub(super) struct Question<'a> {
    reviews: &'a Reviews,
    review: &'a Review<'a>,
    uid: String,
    old: Arc<[u8]>,
}

/// An object as it is shown to policies: encoded once for those that are asked together.
pub(super) struct Shown<'o> {
    object: &'o Value,
    json: Arc<[u8]>,
}

impl<'a> Question<'a> {
    pub(super) fn new(reviews: &'a Reviews, review: &'a Review<'a>) -> Self {
        let old = review.old.map(encode).unwrap_or_default();
        Self { reviews, review, uid: (&mut &*reviews.ids).uid(), old }
    }

    /// An object as it is now; what goes is shown as the old one alone.
    pub(super) fn shown<'o>(&self, object: &'o Value) -> Shown<'o> {
        let goes = self.review.verb == Verb::Delete;
        Shown { object, json: if goes { Arc::default() } else { encode(object) } }
    }

    /// What a policy says, or what its binding says when it gives no verdict.
    ///
    /// # Errors
    /// What the client is told when the write is refused.
    pub(super) async fn ask(&self, asked: &Asked<'_>, shown: &Shown<'_>) -> Result<Judged, Status> {
        let Some(installed) = &asked.installed else {
            return go_on(asked, "it does not run", |why| {
                let details = Details { retry_after_seconds: RETRY_AFTER_SECONDS, ..Details::default() };
                Status { details: Some(Box::new(details)), ..Status::new(Reason::ServiceUnavailable, why) }
            });
        };
        let begun = self.reviews.executor.now();
        let verdict = self.verdict(installed, shown).await;
        let judged = verdict.and_then(|verdict| {
            let Review { resource, subresource, verb, .. } = *self.review;
            let changeable = (verb != Verb::Delete).then_some(shown.object);
            judge(asked.name, asked.mutates, verdict, resource, subresource, changeable)
                .map_err(|error| error.to_string())
        });
        let now = self.reviews.executor.now();
        installed.counter.ended(begun, judged.is_err());
        match judged {
            Ok(judged) => {
                installed.answered(now);
                self.note(asked.name, &judged);
                match judged.refusal {
                    Some(refusal) => Err(refusal),
                    None => Ok(judged),
                }
            }
            Err(why) => {
                if installed.failed(now, &why) {
                    self.reviews.put_aside(asked.name, installed.installation);
                }
                go_on(asked, &why, |why| Status::internal(format!("Internal error occurred: {why}")))
            }
        }
    }

    /// Calls the policy, for as long as the write has time left.
    async fn verdict(
        &self,
        installed: &Arc<Installed>,
        shown: &Shown<'_>,
    ) -> Result<berth_admission::Verdict, String> {
        let executor = &self.reviews.executor;
        let spent = executor.now().millis_since(self.review.now).max(0).unsigned_abs();
        let left = BUDGET.saturating_sub(Duration::from_millis(spent));
        let out_of_time = || format!("the {} s that a write has for its policies are over", BUDGET.as_secs());
        if left.is_zero() {
            return Err(out_of_time());
        }
        let request = self.request(shown);
        let call = async {
            let _seat = installed.seats.acquire().await.map_err(|closed| closed.to_string())?;
            let reviewer = installed.reviewer.clone();
            let answer = executor.blocking(move || reviewer.review(&request)).await;
            answer.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
        };
        tokio::select! {
            biased;
            answer = call => answer,
            () = executor.sleep(left) => Err(out_of_time()),
        }
    }

    fn request(&self, shown: &Shown<'_>) -> Request {
        let review = self.review;
        let Resource { group, version, kind, plural, .. } = review.resource;
        let (group, version, kind) = match review.resource.subresource(review.subresource) {
            Some(subresource) if review.subresource == "scale" => subresource.kind(),
            _ => (group.as_str(), version.as_str(), kind.as_str()),
        };
        let extra = &review.identity.extra;
        Request {
            now_ms: self.reviews.executor.now().micros().max(0).unsigned_abs() / 1_000,
            seed: (&mut &*self.reviews.ids).bits(),
            uid: self.uid.clone(),
            operation: operation(review.verb),
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            resource: plural.clone(),
            sub_resource: review.subresource.to_owned(),
            namespace: review.namespace.to_owned(),
            namespace_labels: namespace_labels(review, shown.object).unwrap_or_default(),
            name: review.name.to_owned(),
            user: review.identity.user.clone(),
            user_uid: review.identity.uid.clone(),
            user_groups: review.identity.groups.clone(),
            user_extra: extra.iter().map(|(key, values)| (key.clone(), values.clone())).collect(),
            dry_run: review.dry_run,
            object: shown.json.clone(),
            old_object: self.old.clone(),
        }
    }

    /// What policies note of who did what.
    fn note(&self, policy: &str, judged: &Judged) {
        let Review { identity, verb, resource, namespace, name, .. } = self.review;
        for (key, value) in &judged.audit {
            tracing::info!(
                target: "berth::audit", policy, user = %identity.user, verb = verb.as_str(),
                resource = %resource.plural, namespace, name, "{key}={value}"
            );
        }
    }
}

fn encode(object: &Value) -> Arc<[u8]> {
    object.to_string().into_bytes().into()
}

/// What becomes of a write without a verdict: it ends with an answer, or goes on with a warning.
fn go_on(asked: &Asked<'_>, why: &str, answer: impl FnOnce(String) -> Status) -> Result<Judged, Status> {
    let said = format!("admission policy \"{}\" gave no verdict: {why}", asked.name);
    match asked.failure_policy {
        FailurePolicy::Fail | FailurePolicy::LastGood => Err(answer(said)),
        FailurePolicy::Ignore => {
            Ok(Judged { changed: None, refusal: None, warnings: vec![said], audit: Vec::new() })
        }
    }
}
