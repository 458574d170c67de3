//! Many small writes at once.

use berth_api::Status;
use berth_pipeline::{Answer, Request};
use berth_state::{CommitError, Fence};

use crate::{Cluster, errors};

impl Cluster {
    /// Does writes of different objects, planned on one state and made durable together: one job for the writer instead of
    /// one each. One result a write, in their order, as [`Cluster::apply`] gives it. A write that builds on another of
    /// them may not find it yet.
    pub async fn apply_each(&self, requests: Vec<Request>) -> Vec<Result<Answer, Status>> {
        self.apply_each_fenced(requests, None).await
    }

    pub(crate) async fn apply_each_fenced(
        &self,
        requests: Vec<Request>,
        fence: Option<&Fence>,
    ) -> Vec<Result<Answer, Status>> {
        let mut results = Vec::with_capacity(requests.len());
        let (mut waiting, mut commits) = (Vec::new(), Vec::new());
        for (at, request) in requests.iter().enumerate() {
            let planned =
                self.plan(request, &self.config.admission).await.map(|mut plan| (plan.commit.take(), plan));
            results.push(match planned {
                Ok((Some(mut commit), plan)) => {
                    commit.fence = fence.cloned();
                    commits.push(commit);
                    waiting.push((at, plan));
                    None
                }
                Ok((None, plan)) => Some(Ok(plan.into_answer(&[]))),
                Err(status) => Some(Err(status)),
            });
        }
        let outcomes = match commits.is_empty() {
            true => Ok(vec![]),
            false => self.commit_each(commits).await,
        };
        match outcomes {
            Ok(outcomes) => {
                for ((at, plan), outcome) in waiting.into_iter().zip(outcomes) {
                    results[at] = match outcome {
                        Ok(changes) => Some(Ok(plan.into_answer(&changes))),
                        // Another write came between: this one is planned anew, on its own.
                        Err(CommitError::Conflict { .. }) => None,
                        Err(error) => Some(Err(errors::status_of(&error))),
                    };
                }
            }
            Err(error) => {
                waiting.iter().for_each(|(at, _)| results[*at] = Some(Err(errors::status_of(&error))));
            }
        }
        let mut done = Vec::with_capacity(results.len());
        for (result, request) in results.into_iter().zip(requests) {
            done.push(match result {
                Some(result) => result,
                None => self.apply_fenced(request, fence).await,
            });
        }
        done
    }
}
