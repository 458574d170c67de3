//! `…/pods/<name>/exec` and `/attach` over WebSocket.

mod channels;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use berth_api::Status;
use berth_client::{AttachRequest, BoxError, ExecRequest};
use berth_pipeline::Verb;
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http_body_util::BodyExt;

use crate::pods::{self, Place};
use crate::query::Query;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};

use channels::{Protocol, Wanted, Work};

/// Serves an upgrade to a session; the session itself runs in a task of its own.
pub(crate) async fn serve(server: Arc<Inner>, target: Target, mut call: Call) -> Handled {
    // A process in a container can do more than a reader may, whatever the method is called.
    authorize(&server, &target, &call, Verb::Create)?;
    let (wanted, work) = read(&server, &target, &call.query)?;
    let upgrade = call.parts.headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upgrade.to_ascii_lowercase().starts_with("spdy/") {
        return Err(Status::bad_request(
            "berth speaks WebSocket (v5.channel.k8s.io), not SPDY: use kubectl 1.31 or newer, without \
             KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false",
        ));
    }
    let protocol = protocol(&call)?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut call.parts, &())
        .await
        .map_err(|rejection| Status::bad_request(format!("Upgrade request required: {rejection}")))?;
    let response = upgrade
        .protocols([protocol.name()])
        .max_message_size(channels::MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| channels::run(socket, protocol, wanted, work));
    Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
}

fn protocol(call: &Call) -> Result<Protocol, Status> {
    let offers = call.parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let offered: Vec<&str> = offers.flat_map(|value| value.split(',')).map(str::trim).collect();
    let known = [Protocol::V5, Protocol::V4];
    known.into_iter().find(|protocol| offered.contains(&protocol.name())).ok_or_else(|| {
        Status::bad_request(format!(
            "the session's protocol must be v5.channel.k8s.io or v4.channel.k8s.io, not {offered:?}"
        ))
    })
}

fn read(server: &Inner, target: &Target, query: &Query) -> Result<(Wanted, Work), Status> {
    let place = pods::find(server, target, query.text("container"))?;
    let tty = query.flag("tty");
    let wanted = Wanted {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        // A terminal has one output.
        stderr: query.flag("stderr") && !tty,
        resize: tty,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return Err(Status::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    let (namespace, pod) = (target.path.namespace.clone(), target.path.name.clone());
    let Place { node, uid, container, container_tty, container_stdin } = place;
    if target.subresource == "exec" {
        let command: Vec<String> = query.all("command").map(str::to_owned).collect();
        if command.is_empty() {
            return Err(Status::bad_request("you must specify at least 1 command for the container"));
        }
        let request = ExecRequest { namespace, pod, uid, container, command, tty };
        return Ok((wanted, Work::Exec(node, request)));
    }
    if tty && !container_tty {
        return Err(Status::bad_request(format!("container {container} of pod {pod} has no terminal")));
    }
    if wanted.stdin && !container_stdin {
        let message = format!("container {container} of pod {pod} does not keep its standard input open");
        return Err(Status::bad_request(message));
    }
    Ok((wanted, Work::Attach(node, AttachRequest { namespace, pod, uid, container, tty })))
}
