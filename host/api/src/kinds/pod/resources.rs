//! Requests and limits.

use std::cmp::Ordering;

use berth_json::Value;

use crate::kinds::cursor::Cursor;
use crate::kinds::meta::NOT_NEGATIVE;
use crate::kinds::names;
use crate::quantity::Quantity;
use crate::status::Problems;

const HUGE_PAGES: &str = "hugepages-";

/// Checks a `resources` object.
pub(super) fn validate_requirements(resources: &Cursor<'_>, problems: &mut Problems) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    for (name, amount) in limits.entries() {
        validate_amount(name, &amount, problems);
        validate_huge_pages(name, &amount, problems);
    }
    for (name, amount) in requests.entries() {
        validate_amount(name, &amount, problems);
        compare_with_limit(name, &amount, &requests, &limits, problems);
        validate_huge_pages(name, &amount, problems);
    }
    let has =
        |found: fn(&str) -> bool| limits.entries().chain(requests.entries()).any(|(name, _)| found(name));
    if has(|name| name.starts_with(HUGE_PAGES)) && !has(|name| matches!(name, "cpu" | "memory")) {
        problems.forbidden(resources, "HugePages require cpu or memory");
    }
}

/// Reads an amount; the decoder let only quantities through.
fn quantity(at: &Cursor<'_>) -> Quantity {
    Quantity::parse(at.text()).unwrap_or(Quantity::ZERO)
}

fn validate_amount(name: &str, amount: &Cursor<'_>, problems: &mut Problems) {
    validate_resource_name(name, amount, problems);
    let value = quantity(amount);
    if value.is_negative() {
        problems.invalid(amount, amount.value(), NOT_NEGATIVE);
    }
    if !is_native(name) && value.is_fractional() {
        problems.invalid(amount, amount.value(), "must be an integer");
    }
}

/// Checks the name of a resource that a container can ask for.
pub(in crate::kinds) fn validate_resource_name(name: &str, at: &Cursor<'_>, problems: &mut Problems) {
    let faults = names::qualified_name(name);
    let detail = if !faults.is_empty() {
        faults.into_iter().for_each(|fault| problems.invalid(at, &name.into(), &fault));
        return;
    } else if !name.contains('/') {
        let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
        if standard {
            return;
        }
        "must be a standard resource for containers"
    } else if !is_native(name) && name.starts_with("requests.") {
        "doesn't follow extended resource name standard"
    } else {
        return;
    };
    problems.invalid(at, &Value::from(name), detail);
}

fn compare_with_limit(
    name: &str,
    request: &Cursor<'_>,
    requests: &Cursor<'_>,
    limits: &Cursor<'_>,
    problems: &mut Problems,
) {
    let limit = limits.key(name);
    let overcommit = is_native(name) && !name.starts_with(HUGE_PAGES);
    if !limit.exists() {
        if !overcommit {
            problems.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    }
    let detail = match quantity(request).cmp(&quantity(&limit)) {
        Ordering::Equal => return,
        _ if !overcommit => format!("must be equal to {name} limit of {}", limit.text()),
        Ordering::Greater => format!("must be less than or equal to {name} limit of {}", limit.text()),
        Ordering::Less => return,
    };
    problems.invalid(requests, request.value(), &detail);
}

fn validate_huge_pages(name: &str, amount: &Cursor<'_>, problems: &mut Problems) {
    let Some(Ok(page)) = name.strip_prefix(HUGE_PAGES).map(Quantity::parse) else { return };
    let (page_bytes, bytes) = (page.value(), quantity(amount).value());
    if page_bytes > 0 && bytes % page_bytes != 0 {
        let detail = format!("{} is not positive integer multiple of {name}", amount.text());
        problems.invalid(amount, amount.value(), &detail);
    }
}

/// Whether Kubernetes itself gives the resource its meaning; others are extended resources, counted in whole units.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// The quality-of-service class of a pod whose requests were filled in from its limits or will be.
pub(super) fn qos_class(pod: &Value) -> &'static str {
    let spec = Cursor::top(pod, "spec");
    let pod_level = spec.child("resources");
    if !pod_level.child("limits").is_empty() || !pod_level.child("requests").is_empty() {
        return if is_guaranteed(&pod_level) { "Guaranteed" } else { class_of(is_best_effort(&pod_level)) };
    }
    let (mut guaranteed, mut best_effort) = (true, true);
    for list in ["containers", "initContainers"] {
        for container in spec.child(list).items() {
            let resources = container.child("resources");
            guaranteed &= is_guaranteed(&resources);
            best_effort &= is_best_effort(&resources);
        }
    }
    if guaranteed { "Guaranteed" } else { class_of(best_effort) }
}

fn class_of(best_effort: bool) -> &'static str {
    if best_effort { "BestEffort" } else { "Burstable" }
}

/// Whether cpu and memory are limited and requested in full.
fn is_guaranteed(resources: &Cursor<'_>) -> bool {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    ["cpu", "memory"].into_iter().all(|name| {
        let (limit, request) = (quantity(&limits.key(name)), requests.key(name));
        !limit.is_zero() && (!request.exists() || quantity(&request) == limit)
    })
}

/// Whether neither cpu nor memory is requested or limited.
fn is_best_effort(resources: &Cursor<'_>) -> bool {
    ["limits", "requests"].into_iter().all(|list| {
        let amounts = resources.child(list);
        ["cpu", "memory"].into_iter().all(|name| quantity(&amounts.key(name)).is_zero())
    })
}
