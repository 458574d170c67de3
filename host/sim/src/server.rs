//! The server under virtual time: the pipeline's pure plan_at_once, the ledger, and a writer that commits in groups, as
//! `berth_pipeline::Cluster` does it with tasks.

use std::collections::VecDeque;
use std::sync::Arc;

use berth_api::{Catalogue, Reason, Schema, Status, Timestamp, status};
use berth_pipeline::{
    Env, Ids, NoTokens, NodePorts, Plan, RoleAuthorizer, ServiceCidr, bootstrap, plan_at_once, plan_bindings,
};
use berth_state::{Change, Commit, CommitError, Draft, Ledger, MemoryStore, State, Stored};

use crate::call::{Ask, Reply, Ticket};

/// How often a write that met a conflict is planned anew, as in the cluster.
const PLANS_MAX: usize = 8;
const API_PORT: u16 = 6443;

struct Job {
    ticket: Ticket,
    ask: Ask,
    plan: Option<Plan>,
    /// One per write or binding; `None` while it is open.
    results: Vec<Option<Result<(), Status>>>,
    /// What is to be committed, and of which results.
    commits: Vec<(Vec<usize>, Commit)>,
    attempts: usize,
}

type Outcome = (Vec<usize>, Result<Vec<Arc<Change>>, CommitError>);

/// What is on its way to the disk.
pub(crate) struct Batch {
    jobs: Vec<(Job, Vec<Outcome>)>,
    changes: Vec<Arc<Change>>,
}

/// The server's memory: what a crash takes away.
pub(crate) struct Server {
    pub(crate) state: State,
    catalogue: Arc<Catalogue>,
    ledger: Ledger,
    queue: VecDeque<Job>,
    batch: Option<Batch>,
}

/// What the writer brought to an end.
pub(crate) struct Finished {
    /// Published, in this order.
    pub(crate) changes: Vec<Arc<Change>>,
    pub(crate) replies: Vec<(Ticket, Reply)>,
}

impl Server {
    /// Rebuilds the state from the disk.
    pub(crate) fn start(disk: &MemoryStore, catalogue: Arc<Catalogue>) -> Self {
        let mut objects = Vec::new();
        let revision = disk.load_now(&mut |record| {
            let resource = catalogue.named(&record.key.resource).expect("a stored kind is served");
            let draft = Draft::restore(resource, record.bytes).expect("what was stored can be read");
            objects.push(Arc::new(Stored::new(record.key, record.revision, draft)));
        });
        let state = State::restored(revision, objects);
        Self { state, catalogue, ledger: Ledger::default(), queue: VecDeque::new(), batch: None }
    }

    /// The objects every cluster has, to be asked for at each start.
    pub(crate) fn system_objects(&self) -> Vec<Ask> {
        let requests = bootstrap::system_objects(&self.catalogue, services(), API_PORT);
        requests.into_iter().map(|request| Ask::Write(Box::new(request))).collect()
    }

    /// Takes in a call; answers at once what needs no write.
    pub(crate) fn take(
        &mut self,
        ticket: Ticket,
        ask: Ask,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Option<Reply> {
        let count = match &ask {
            Ask::Write(_) => 1,
            Ask::Bind { bindings, .. } => bindings.len(),
        };
        let job = Job { ticket, ask, plan: None, results: vec![None; count], commits: vec![], attempts: 0 };
        self.plan(job, now, ids)
    }

    /// Plans what is open of a job and queues its commits, or answers.
    fn plan(&mut self, mut job: Job, now: Timestamp, ids: &mut dyn Ids) -> Option<Reply> {
        job.attempts += 1;
        if job.attempts > PLANS_MAX {
            let unlucky = Status::new(Reason::Conflict, status::MODIFIED);
            job.results.iter_mut().filter(|r| r.is_none()).for_each(|r| *r = Some(Err(unlucky.clone())));
            return Some(job.reply(&[]));
        }
        match &job.ask {
            Ask::Write(request) => {
                let catalogue = self.catalogue.clone();
                let mut env = Env {
                    catalogue: &catalogue,
                    schema: Schema::builtin(),
                    authorizer: &RoleAuthorizer,
                    admission: &[],
                    tokens: &NoTokens,
                    now,
                    ids,
                    services: services(),
                    node_ports: &NodePorts::default(),
                };
                match plan_at_once(&self.state, &mut env, request) {
                    Ok(mut planned) => {
                        job.commits =
                            planned.commit.take().map(|commit| (vec![0], commit)).into_iter().collect();
                        job.plan = Some(planned);
                    }
                    Err(status) => job.results[0] = Some(Err(status)),
                }
            }
            Ask::Bind { bindings, together } => {
                let open: Vec<usize> = (0..bindings.len()).filter(|at| job.results[*at].is_none()).collect();
                let wanted: Vec<_> = open.iter().map(|at| bindings[*at].clone()).collect();
                let planned = plan_bindings(&self.state, now, &wanted);
                let refused = planned.iter().find_map(|op| op.as_ref().err().cloned());
                if let (true, Some(status)) = (*together, refused) {
                    job.results.iter_mut().for_each(|result| *result = Some(Err(status.clone())));
                } else if *together {
                    let ops = planned.into_iter().flatten().collect();
                    job.commits = vec![(open, Commit { ops, ..Commit::default() })];
                } else {
                    for (at, op) in open.into_iter().zip(planned) {
                        match op {
                            Ok(op) => {
                                job.commits.push((vec![at], Commit { ops: vec![op], ..Commit::default() }))
                            }
                            Err(status) => job.results[at] = Some(Err(status)),
                        }
                    }
                }
            }
        }
        if job.commits.is_empty() {
            return Some(job.reply(&[]));
        }
        self.queue.push_back(job);
        None
    }

    /// Whether the writer has something to take up.
    pub(crate) fn can_write(&self) -> bool {
        self.batch.is_none() && !self.queue.is_empty()
    }

    /// Stages the first `limit` jobs as one transaction, which the disk will take its time for.
    pub(crate) fn begin_write(&mut self, limit: usize) {
        let mut batch = Batch { jobs: vec![], changes: vec![] };
        for mut job in self.queue.drain(..limit.min(self.queue.len())) {
            let mut outcomes = Vec::new();
            for (places, commit) in std::mem::take(&mut job.commits) {
                let outcome = self.ledger.stage(&self.state, commit);
                batch.changes.extend(outcome.iter().flatten().cloned());
                outcomes.push((places, outcome));
            }
            batch.jobs.push((job, outcomes));
        }
        self.batch = Some(batch);
    }

    /// The changes that are on their way to the disk.
    pub(crate) fn staged(&self) -> &[Arc<Change>] {
        self.batch.as_ref().map_or(&[], |batch| &batch.changes)
    }

    /// Publishes what the disk has taken, or forgets what it has not, and answers.
    pub(crate) fn end_write(&mut self, failed: Option<&str>, now: Timestamp, ids: &mut dyn Ids) -> Finished {
        let Some(batch) = self.batch.take() else { return Finished { changes: vec![], replies: vec![] } };
        if failed.is_none() {
            batch.changes.iter().for_each(|change| self.state.publish(change.clone()));
        }
        self.ledger.clear(&self.state);
        let mut replies = Vec::new();
        for (mut job, outcomes) in batch.jobs {
            let mut written = Vec::new();
            for (places, outcome) in outcomes {
                let result = match (outcome, failed) {
                    (Err(CommitError::Conflict { .. }), _) => continue,
                    (Ok(_), Some(why)) => {
                        Err(Status::new(Reason::ServiceUnavailable, format!("nothing was written: {why}")))
                    }
                    (Ok(changes), None) => {
                        written.extend(changes);
                        Ok(())
                    }
                    (Err(error), _) => Err(Status::internal(error.to_string())),
                };
                places.into_iter().for_each(|at| job.results[at] = Some(result.clone()));
            }
            let ticket = job.ticket;
            let reply = if job.results.iter().any(Option::is_none) {
                self.plan(job, now, ids)
            } else {
                Some(job.reply(&written))
            };
            replies.extend(reply.map(|reply| (ticket, reply)));
        }
        let changes = if failed.is_none() { batch.changes } else { vec![] };
        Finished { changes, replies }
    }
}

impl Job {
    fn reply(self, changes: &[Arc<Change>]) -> Reply {
        match (self.ask, self.plan) {
            (Ask::Write(_), plan) => {
                let refused = self.results.into_iter().flatten().find_map(Result::err);
                Reply::Written(match (refused, plan) {
                    (Some(status), _) => Err(status),
                    (None, Some(plan)) => Ok(plan.into_answer(changes)),
                    (None, None) => Err(Status::internal("a job without a plan or a refusal")),
                })
            }
            (Ask::Bind { .. }, _) => {
                let open = || Err(Status::internal("a binding without a result"));
                Reply::Bound(self.results.into_iter().map(|result| result.unwrap_or_else(open)).collect())
            }
        }
    }
}

fn services() -> ServiceCidr {
    ServiceCidr::parse("10.96.0.0/16").expect("a valid range")
}
