//! One request, from its head to its answer.

mod resource;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use berth_api::Status;
use berth_client::Body;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};

use crate::authentication::{self, Caller};
use crate::fairness::{Level, Seat};
use crate::held::{self, Bag};
use crate::negotiate::{self, Encoding};
use crate::path::{self, Route};
use crate::query::Query;
use crate::server::{Call, Handled, Inner, Server, method_not_allowed};
use crate::{discovery, impersonation, issuer, pretty, respond};

impl Server {
    /// Answers a request. Never fails: a bug in one request is a 500 for that one.
    pub(crate) async fn handle(&self, request: Request<Body>, caller: Caller) -> Response<Body> {
        let started = Instant::now();
        let encoding = negotiate::error_encoding(request.headers());
        let method = request.method().clone();
        let pretty = pretty::wanted(request.uri().query(), request.headers());
        let gzip = respond::accepts_gzip(request.headers());
        let served = AssertUnwindSafe(self.inner.clone().serve(request, caller)).catch_unwind().await;
        let response = match served {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => respond::failure(&status, encoding),
            Err(panic) => {
                tracing::error!(panic = panic_text(&*panic), "a request failed for a bug");
                let message = "an error on the server has prevented the request from succeeding";
                respond::failure(&Status::internal(message), Encoding::Json)
            }
        };
        let response = if pretty { pretty::indent(response).await } else { response };
        let response = respond::compress(response, gzip).await;
        self.inner.metrics.request(&method, response.status().as_u16(), started.elapsed());
        response
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, request: Request<Body>, caller: Caller) -> Handled {
        let (parts, body) = request.into_parts();
        let route = path::route(parts.uri.path());
        let known = authentication::authenticate(&self.cluster, &self.tokens, &caller, &parts.headers)?;
        let query = Query::parse(parts.uri.query());
        let level = match &caller {
            Caller::Process(_) => Level::System,
            Caller::Network(_) => Level::of(known.as_deref()),
        };
        let user = known.as_ref().map_or("", |identity| identity.user.as_str()).to_owned();
        let _seat = self.fairness.requests(level).take(&user).await?;
        // What load balancers and `kubectl version` ask before they know who they are is open, as in Kubernetes.
        match &route {
            Route::Version => return discovery::version(&parts),
            Route::Health { probe, check } => return Ok(self.health.answer(probe, check, &query)),
            _ => {}
        }
        let caller = known.ok_or_else(authentication::unauthorized)?;
        let identity = impersonation::effective(&self.cluster, caller, &parts.headers).await?;
        let call = Call { parts, query, identity };
        if !is_long_running(&route, &call) {
            return self.route(route, call, body).await;
        }
        let lasting = self.fairness.lasting(level).take(&user).await?;
        let bag = call.parts.extensions.get::<Bag>().cloned();
        let response = self.route(route, call, body).await?;
        Ok(hold_seat(response, lasting, bag))
    }

    async fn route(self: Arc<Self>, route: Route, call: Call, body: Body) -> Handled {
        match route {
            Route::Object(path) => return resource::serve(self, path, call, body).await,
            _ => authorize_path(&self, &call)?,
        }
        match route {
            Route::Object(_) | Route::Nothing => Ok(respond::text(404, "404 page not found\n")),
            _ if call.parts.method != Method::GET => Err(method_not_allowed()),
            Route::Version | Route::Health { .. } => Ok(respond::text(404, "404 page not found\n")),
            Route::Metrics => Ok(self.metrics.answer(&self.cluster, &(self.hooks.metrics)())),
            Route::IssuerConfiguration => issuer::configuration(&self, &call.identity),
            Route::IssuerKeys => issuer::keys(&self, &call.identity),
            Route::Paths
            | Route::CoreVersions
            | Route::Groups
            | Route::Group(_)
            | Route::Resources { .. }
            | Route::OpenApiV2
            | Route::OpenApiIndex
            | Route::OpenApi { .. } => discovery::serve(&self, &route, &call),
        }
    }
}

/// Whether a request goes on after its head was answered: a watch, a log that is followed, a session.
fn is_long_running(route: &Route, call: &Call) -> bool {
    let Route::Object(path) = route else { return false };
    match path.subresource.as_str() {
        "exec" | "attach" | "portforward" => true,
        "log" => call.query.flag("follow"),
        _ => path.watch || (call.parts.method == Method::GET && call.query.flag("watch")),
    }
}

/// Keeps a seat as long as the answer lasts: its body, or the connection that became a session.
fn hold_seat(response: Response<Body>, seat: Seat, bag: Option<Bag>) -> Response<Body> {
    match bag {
        Some(bag) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            bag.put(seat);
            response
        }
        _ => response.map(|body| held::with_body(body, seat)),
    }
}

/// Asks about a path that is none of a resource.
fn authorize_path(server: &Inner, call: &Call) -> Result<(), Status> {
    let verb = call.parts.method.as_str().to_ascii_lowercase();
    server.cluster.authorize_path(&call.identity, &verb, call.parts.uri.path())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
