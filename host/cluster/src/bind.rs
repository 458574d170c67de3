//! Binding pods in batches through the writer.

use berth_api::{Reason, Status};
use berth_pipeline::{Binding, plan_bindings};
use berth_state::{Commit, CommitError, Fence, Op, Revision};

use crate::{Atomicity, Cluster, PLANS_MAX, errors};

type Bound = Result<Revision, Status>;

impl Cluster {
    /// Binds pods in one batch; one result a binding, in their order, each true once it is durable.
    ///
    /// With [`Atomicity::All`] the first refusal refuses all.
    ///
    /// # Errors
    /// In an element: as `POST …/binding` answers.
    pub async fn commit_bindings(&self, bindings: Vec<Binding>, atomicity: Atomicity) -> Vec<Bound> {
        self.bind_fenced(bindings, atomicity, None).await
    }

    pub(crate) async fn bind_fenced(
        &self,
        bindings: Vec<Binding>,
        atomicity: Atomicity,
        fence: Option<&Fence>,
    ) -> Vec<Bound> {
        match atomicity {
            Atomicity::Each => self.bind_each(&bindings, fence).await,
            Atomicity::All => {
                let bound = self.bind_all(&bindings, fence).await;
                let of = |at: usize| bound.as_ref().map(|revisions| revisions[at]).map_err(Status::clone);
                (0..bindings.len()).map(of).collect()
            }
        }
    }

    async fn bind_each(&self, bindings: &[Binding], fence: Option<&Fence>) -> Vec<Bound> {
        let mut results: Vec<Option<Bound>> = bindings.iter().map(|_| None).collect();
        for _ in 0..PLANS_MAX {
            let open: Vec<usize> = (0..bindings.len()).filter(|at| results[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            self.bind_open(bindings, &open, fence, &mut results).await;
        }
        let unlucky = || Err(Status::new(Reason::Conflict, berth_api::status::MODIFIED));
        results.into_iter().map(|result| result.unwrap_or_else(unlucky)).collect()
    }

    /// Tries the bindings that have no result yet; those that met a conflict stay without one.
    async fn bind_open(
        &self,
        bindings: &[Binding],
        open: &[usize],
        fence: Option<&Fence>,
        results: &mut [Option<Bound>],
    ) {
        let wanted: Vec<Binding> = open.iter().map(|at| bindings[*at].clone()).collect();
        let mut places = Vec::with_capacity(open.len());
        let mut commits = Vec::with_capacity(open.len());
        for (at, planned) in open.iter().zip(self.plan_bindings(&wanted)) {
            match planned {
                Ok(op) => {
                    places.push(*at);
                    commits.push(commit_of(vec![op], fence));
                }
                Err(status) => results[*at] = Some(Err(status)),
            }
        }
        if commits.is_empty() {
            return;
        }
        match self.commit_each(commits).await {
            Ok(outcomes) => {
                for (at, outcome) in places.into_iter().zip(outcomes) {
                    results[at] = match outcome {
                        Ok(changes) => Some(Ok(changes[0].revision)),
                        Err(CommitError::Conflict { .. }) => None,
                        Err(error) => Some(Err(errors::status_of(&error))),
                    };
                }
            }
            Err(error) => {
                places.into_iter().for_each(|at| results[at] = Some(Err(errors::status_of(&error))))
            }
        }
    }

    async fn bind_all(&self, bindings: &[Binding], fence: Option<&Fence>) -> Result<Vec<Revision>, Status> {
        for _ in 0..PLANS_MAX {
            let ops = self.plan_bindings(bindings).into_iter().collect::<Result<Vec<Op>, Status>>()?;
            match self.commit(commit_of(ops, fence)).await {
                Ok(changes) => return Ok(changes.iter().map(|change| change.revision).collect()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(errors::status_of(&error)),
            }
        }
        Err(Status::new(Reason::Conflict, berth_api::status::MODIFIED))
    }

    fn plan_bindings(&self, bindings: &[Binding]) -> Vec<Result<Op, Status>> {
        let now = self.now();
        self.read(|state| plan_bindings(state, now, bindings))
    }
}

fn commit_of(ops: Vec<Op>, fence: Option<&Fence>) -> Commit {
    Commit { ops, fence: fence.cloned(), needs: vec![] }
}
