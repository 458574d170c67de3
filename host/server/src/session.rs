//! `…/pods/<name>/exec` and `/attach` over WebSocket.

mod channels;
mod protocol;

use std::sync::Arc;

use berth_api::Status;
use berth_client::{AttachRequest, ExecRequest};
use berth_pipeline::Verb;
use http::header::UPGRADE;

use crate::pods::{self, Place};
use crate::query::Query;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};
use crate::websocket;

use channels::{Wanted, Work};
use protocol::Protocol;

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
    let (name, protocol) = websocket::choose(&call.parts.headers, &Protocol::ALL)?;
    websocket::accept(&mut call, name, move |socket| channels::run(socket, protocol, wanted, work))
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
