//! NodeRestriction: what a node makes bears its own name. The authorizer, which sees no bodies, cannot tell.

use berth_api::Status;

use super::Review;
use crate::authorizer::node_name;
use crate::identity::Verb;

pub(super) fn check(review: &Review<'_>) -> Result<(), Status> {
    let Some(node) = node_name(review.identity) else { return Ok(()) };
    if review.verb != Verb::Create || review.name == node {
        return Ok(());
    }
    let why = match &*review.resource.id {
        "nodes" => format!("node \"{node}\" is not allowed to modify node \"{}\"", review.name),
        "leases.coordination.k8s.io" => {
            "can only access node lease with the same name as the requesting node".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Status::forbidden(review.resource, review.name, &why))
}
