//! What clients are told when the machinery, not their request, is at fault.

use std::error::Error;

use berth_api::status::Details;
use berth_api::{Reason, Status};
use berth_state::CommitError;

/// After how many seconds a client should try again when the queue is full: it drains in less.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The answer to a write whose commit was not taken.
pub(crate) fn status_of(error: &CommitError) -> Status {
    match error {
        CommitError::Busy => {
            let details = Details { retry_after_seconds: RETRY_AFTER_SECONDS, ..Details::default() };
            let message = "too many writes are waiting, please try again later";
            let status = Status::new(Reason::TooManyRequests, message);
            Status { details: Some(Box::new(details)), ..status }
        }
        CommitError::Store(why) => store_failed(why),
        CommitError::Fenced { .. } | CommitError::Conflict { .. } => {
            Status::new(Reason::Conflict, error.to_string())
        }
    }
}

/// 503: nothing was written.
pub(crate) fn store_failed(why: &str) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("nothing was written: {why}"))
}

/// 503: something could not be read.
pub(crate) fn unread(why: &str) -> Status {
    Status::new(Reason::ServiceUnavailable, why)
}

/// The writer is gone, or going.
pub(crate) fn stopping() -> CommitError {
    CommitError::Store("the server is shutting down".to_owned())
}

/// An error with all its causes, as one sentence.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        cause = error.source();
    }
    text
}
