//! The server as a transport: how the agent reaches the API in the same process.

use std::sync::Arc;

use berth_client::{Body, ClientError, Transport};
use berth_pipeline::Identity;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};

use crate::authentication::Caller;
use crate::respond::full;
use crate::server::Server;

/// Calls a server directly, as one identity.
pub struct InProcess {
    server: Server,
    identity: Arc<Identity>,
}

impl Server {
    /// A transport to this server as `identity`, without a network in between.
    pub fn in_process(&self, identity: Arc<Identity>) -> InProcess {
        InProcess { server: self.clone(), identity }
    }
}

impl Transport for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>, ClientError>> {
        let caller = Caller::Process(self.identity.clone());
        Box::pin(async move { Ok(self.server.handle(request.map(full), caller).await) })
    }
}
