//! Writes that take long to decode and plan: beside the threads that answer everybody, and a few at a time.

use std::panic::resume_unwind;

use berth_api::{MediaType, Status};
use berth_pipeline::{Answer, Body, Request};
use berth_state::Key;
use tokio::runtime::Handle;

use crate::fairness::Seat;
use crate::server::Inner;

/// A body, or a stored object that a patch changes, of this size is decoded and planned in a few milliseconds. What is
/// larger would keep one of the few threads from answering others for longer than they should notice.
const HEAVY_BYTES_MIN: usize = 32 * 1024;

/// Does a write, in its turn when it is heavy. `held` is kept until it is done, whether the client waits for that or not.
pub(crate) async fn apply(server: &Inner, request: Request, held: Option<Seat>) -> Result<Answer, Status> {
    if !is_heavy(server, &request) {
        return server.cluster.apply(request).await;
    }
    let turn = server.fairness.heavy.take(&request.identity.user).await?;
    let (cluster, runtime) = (server.cluster.clone(), Handle::current());
    let done = tokio::task::spawn_blocking(move || {
        let _held = (turn, held);
        runtime.block_on(cluster.apply(request))
    });
    done.await.unwrap_or_else(|failed| match failed.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Err(Status::internal("the server is stopping")),
    })
}

fn is_heavy(server: &Inner, request: &Request) -> bool {
    match &request.body {
        // An alias makes much of little, whatever the size.
        Body::Encoded { media_type, .. } if MediaType::of_content_type(media_type) == Ok(MediaType::Yaml) => {
            true
        }
        Body::Encoded { bytes, .. } => bytes.len() >= HEAVY_BYTES_MIN,
        Body::Apply(bytes) if bytes.first() != Some(&b'{') => true,
        Body::Patch(_, bytes) | Body::Apply(bytes) => {
            bytes.len() >= HEAVY_BYTES_MIN || is_large(server, request)
        }
        Body::None | Body::Object(_) => false,
    }
}

/// Whether the object that a request is about is large.
fn is_large(server: &Inner, request: &Request) -> bool {
    let key = Key::new(request.resource.id.clone(), request.namespace.as_str(), request.name.as_str());
    let bytes = server.cluster.read(|state| state.get(&key).map_or(0, |stored| stored.bytes().len()));
    bytes >= HEAVY_BYTES_MIN
}
