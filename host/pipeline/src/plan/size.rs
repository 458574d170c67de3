//! How large an object may be that is stored.

use berth_api::{Reason, Resource, Status};
use berth_state::{Draft, Stored};

/// The largest stored object: what etcd takes in one request, 1.5 MiB, and a third more, because in JSON bytes stand in
/// base64. Every version stays in the history of watches for a while, and every watcher gets it.
pub(super) const STORED_BYTES_MAX: usize = 2 << 20;

/// 413 for an object that is too large, unless it became smaller: what an earlier version accepted can be put right.
pub(super) fn check(
    resource: &Resource,
    name: &str,
    draft: &Draft,
    before: Option<&Stored>,
) -> Result<(), Status> {
    let bytes = draft.bytes().len();
    if bytes <= STORED_BYTES_MAX || before.is_some_and(|before| bytes < before.bytes().len()) {
        return Ok(());
    }
    let resource = resource.qualified();
    let message = format!(
        "Request entity too large: {resource} \"{name}\" would be stored as {bytes} bytes, defaults and managed fields \
         included: limit is {STORED_BYTES_MAX}"
    );
    Err(Status::new(Reason::RequestEntityTooLarge, message))
}
