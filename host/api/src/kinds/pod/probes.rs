//! Probes and lifecycle handlers.

use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{not_negative, one_of, reject};
use crate::kinds::names;
use crate::status::Problems;

/// Checks what only long-running containers have. `grace_s` is the pod's termination grace period in seconds.
pub(super) fn validate_all(container: &Cursor<'_>, grace_s: i64, problems: &mut Problems) {
    let lifecycle = container.child("lifecycle");
    for key in ["postStart", "preStop"] {
        let handler = lifecycle.child(key);
        if handler.exists() {
            validate_handler(&handler, grace_s, problems);
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.child(key);
        if probe.exists() {
            validate_probe(&probe, key == "readinessProbe", problems);
        }
    }
}

fn validate_probe(probe: &Cursor<'_>, is_readiness: bool, problems: &mut Problems) {
    validate_handler(probe, 0, problems);
    for key in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        not_negative(&probe.child(key), problems);
    }
    let (grace, success) = (probe.child("terminationGracePeriodSeconds"), probe.child("successThreshold"));
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        problems.invalid(grace, grace.value(), "must be greater than 0");
    }
    if is_readiness && grace.exists() {
        problems.invalid(grace, grace.value(), "must not be set for readinessProbes");
    }
    if !is_readiness && success.int() != Some(1) {
        problems.invalid(success, success.value(), "must be 1");
    }
}

fn validate_handler(handler: &Cursor<'_>, grace_s: i64, problems: &mut Problems) {
    let mut found = false;
    for key in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = handler.child(key);
        if !action.exists() {
            continue;
        }
        if found {
            problems.forbidden(action, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match key {
            "exec" if action.child("command").is_empty() => problems.required(action.child("command"), ""),
            "exec" => {}
            "httpGet" => validate_http(&action, problems),
            "sleep" => validate_sleep(&action, grace_s, problems),
            _ => validate_port(&action.child("port"), problems),
        }
    }
    if !found {
        problems.required(handler, "must specify a handler type");
    }
}

fn validate_http(get: &Cursor<'_>, problems: &mut Problems) {
    if get.child("path").is_empty() {
        problems.required(get.child("path"), "");
    }
    validate_port(&get.child("port"), problems);
    one_of(&get.child("scheme"), &["HTTP", "HTTPS"], problems);
    let headers = get.child("httpHeaders");
    for header in headers.items() {
        let name = header.child("name");
        for fault in names::http_header(name.text()) {
            problems.invalid(headers, &name.text().into(), &fault);
        }
    }
}

fn validate_sleep(sleep: &Cursor<'_>, grace_s: i64, problems: &mut Problems) {
    let seconds = sleep.child("seconds").int().unwrap_or_default();
    if seconds < 0 || seconds > grace_s {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_s})");
        problems.invalid(sleep, &seconds.into(), &detail);
    }
}

/// A port given by its number or by its name.
pub(in crate::kinds) fn validate_port(port: &Cursor<'_>, problems: &mut Problems) {
    match port.value().as_str() {
        Some(name) => reject(port, names::port_name(name), problems),
        None => {
            let number = port.int().unwrap_or_default();
            for fault in names::port_number(number) {
                problems.invalid(port, &number.into(), &fault);
            }
        }
    }
}
