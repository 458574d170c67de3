//! `…/plugins/<name>/component`: a plugin's bytes, uploaded and read back.

use berth_api::{Problems, Reason, Status};
use berth_json::{Value, json};
use berth_pipeline::{Body, PatchKind, Request, Verb};
use berth_state::Key;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::negotiate;
use crate::render::{self, Context};
use crate::respond;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner, method_not_allowed};

/// How large a component may be: policies are some hundred kilobytes, one with a Python or Go runtime some ten
/// megabytes.
const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// Serves the subresource.
pub(crate) async fn serve(
    server: &Inner,
    target: &Target,
    call: Call,
    sent: berth_client::Body,
    method: &Method,
) -> Handled {
    match *method {
        Method::GET => read(server, target, &call).await,
        Method::PUT | Method::POST => upload(server, target, call, sent).await,
        _ => Err(method_not_allowed()),
    }
}

async fn read(server: &Inner, target: &Target, call: &Call) -> Handled {
    authorize(server, target, call, Verb::Get)?;
    let (resource, name) = (&target.resource, target.path.name.as_str());
    let key = Key::new(resource.id.clone(), "", name);
    let stored = server.cluster.read(|state| state.get(&key).cloned());
    let plugin = stored.ok_or_else(|| Status::not_found(resource, name))?.to_value(resource);
    let digest = plugin["spec"]["digest"].as_str().unwrap_or_default();
    let missing = || Status::new(Reason::NotFound, format!("plugin \"{name}\" has no component yet"));
    let bytes = server.cluster.get_blob(digest).await?.ok_or_else(missing)?;
    Ok(respond::answer(200, "application/wasm", bytes))
}

async fn upload(server: &Inner, target: &Target, call: Call, sent: berth_client::Body) -> Handled {
    authorize(server, target, &call, Verb::Update)?;
    let form = negotiate::object_form(&call.parts.headers)?;
    let context = Context::read(&call.query, server.cluster.now())?;
    let media_type = call.parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !matches!(media_type, "application/wasm" | "application/octet-stream") {
        let message = format!("a component is sent as application/wasm, not as {media_type:?}");
        return Err(Status::new(Reason::UnsupportedMediaType, message));
    }
    let options = call.query.options("UpdateOptions", "")?;
    let bytes = crate::body::read(&call.parts.headers, sent, COMPONENT_BYTES_MAX).await?;
    check(server, target, bytes.clone()).await?;
    let digest = match options.dry_run {
        true => digest_of(&bytes),
        false => server.cluster.put_blob(bytes).await?,
    };
    let request = Request {
        identity: call.identity,
        verb: Verb::Patch,
        resource: target.resource.clone(),
        subresource: "",
        namespace: String::new(),
        name: target.path.name.clone(),
        body: Body::Patch(PatchKind::Merge, json!({ "spec": { "digest": digest } }).to_string().into()),
        options,
    };
    let answer = match server.cluster.apply(request.clone()).await {
        Err(status) if status.reason == Reason::NotFound => {
            server.cluster.apply(creation(request, &digest)).await?
        }
        other => other?,
    };
    let mut response = render::answer(&answer, &target.resource, form, context)?;
    respond::warn(&mut response, &answer.warnings);
    Ok(response)
}

async fn check(server: &Inner, target: &Target, bytes: Bytes) -> Result<(), Status> {
    let size = bytes.len();
    let Err(why) = server.hooks.components.check(bytes).await else { return Ok(()) };
    let mut problems = Problems::default();
    problems.invalid("component", &Value::from(format!("{size} bytes")), &why);
    Err(Status::invalid(&target.resource, &target.path.name, problems))
}

fn creation(patch: Request, digest: &str) -> Request {
    let object = json!({
        "kind": patch.resource.kind, "apiVersion": patch.resource.api_version(),
        "metadata": { "name": patch.name }, "spec": { "digest": digest },
    });
    Request { verb: Verb::Create, name: String::new(), body: Body::Object(object), ..patch }
}

fn digest_of(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
