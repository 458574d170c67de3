//! GET of a collection: selectors, revisions, pages.

use std::sync::Arc;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine};
use berth_api::{FieldSelector, Problems, Reason, Resource, Scope, Selector, Status};
use berth_cluster::Interest;
use berth_json::{Value, json};
use berth_pipeline::Verb;
use berth_state::{Key, Revision, State, Stored};

use crate::negotiate;
use crate::query::{Query, VersionMatch, invalid_options};
use crate::read::{revision, too_large};
use crate::render::{self, Context, Page};
use crate::respond;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};

/// Which objects of a collection are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) labels: Selector,
    pub(crate) fields: FieldSelector,
}

/// At which revision a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// As it is now.
    Now,
    /// As it is now, which must not be before this revision.
    NotOlderThan(Revision),
    /// As it was then.
    Exactly(Revision),
}

/// What a list asks for.
struct Wanted {
    at: At,
    /// The last key of the page before.
    after: Option<Key>,
    limit: Option<usize>,
}

/// Serves `GET …/<plural>`.
pub(crate) fn serve(server: &Inner, target: &Target, call: &Call) -> Handled {
    authorize(server, target, call, Verb::List)?;
    let form = negotiate::object_form(&call.parts.headers)?;
    let context = Context::read(&call.query, server.cluster.now())?;
    let selection = Selection::read(&call.query, &target.resource)?;
    let wanted = Wanted::read(&call.query, target)?;
    call.query.integer("timeoutSeconds")?;
    match server.cluster.read(|state| wanted.page(state, target, &selection)) {
        Ok(page) => render::page(&target.resource, page, form, context),
        Err(Missing::TooLarge { wanted, current }) => Err(too_large(wanted, current)),
        Err(Missing::Expired { resume: None }) => Err(too_old()),
        Err(Missing::Expired { resume: Some(token) }) => {
            // Only this Status says where to go on, if inconsistently.
            let status = continue_too_old();
            let mut body = status.to_value();
            body["metadata"]["continue"] = token.into();
            Ok(respond::failure_value(&status, form.encoding, &body))
        }
    }
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`.
    pub(crate) fn read(query: &Query, resource: &Resource) -> Result<Self, Status> {
        let labels = Selector::parse(query.text("labelSelector")).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(query.text("fieldSelector")).map_err(Status::bad_request)?;
        let fields = resource.select(fields).map_err(Status::bad_request)?;
        Ok(Self { labels, fields })
    }

    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        let field = |name: &str| match name {
            "metadata.name" => Some(stored.key.name.as_ref()),
            "metadata.namespace" => Some(stored.key.namespace.as_ref()),
            other => stored.field(other),
        };
        (self.fields.is_empty() || self.fields.matches(field))
            && (self.labels.is_empty() || self.labels.matches(stored.meta().labels.as_slice()))
    }

    fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// Everything that is selected now, sorted by key.
pub(crate) fn select(state: &State, target: &Target, selection: &Selection) -> Vec<Arc<Stored>> {
    let (resource, namespace) = (&*target.resource.id, target.path.namespace.as_str());
    let in_place = |stored: &&Arc<Stored>| {
        (namespace.is_empty() || *stored.key.namespace == *namespace) && selection.matches(stored)
    };
    if let (false, Some(name)) = (namespace.is_empty(), selection.fields.pinned("metadata.name")) {
        return state
            .get(&Key::new(resource, namespace, name))
            .into_iter()
            .filter(in_place)
            .cloned()
            .collect();
    }
    if let ("pods", Some(node)) = (resource, selection.fields.pinned("spec.nodeName"))
        && !node.is_empty()
    {
        return state.by_field(resource, "spec.nodeName", node).filter(in_place).cloned().collect();
    }
    state.list(resource, namespace).filter(in_place).cloned().collect()
}

/// The narrowest interest that everything selected is in: what a watcher is woken for.
pub(crate) fn interest_of(resource: &Resource, namespace: &str, selection: &Selection) -> Interest {
    let pinned = |field: &str| selection.fields.pinned(field);
    let namespace = match namespace {
        "" => pinned("metadata.namespace").unwrap_or_default(),
        namespace => namespace,
    };
    let is_one_place = resource.scope == Scope::Cluster || !namespace.is_empty();
    if let (true, Some(name)) = (is_one_place, pinned("metadata.name")) {
        return Interest::Object(namespace.into(), name.into());
    }
    let fields = resource.behaviour.fields(&Value::Null).into_iter().filter(|field| field.is_indexed);
    let mut values = fields.filter_map(|field| Some((pinned(&field.name)?.into(), field.name)));
    if let Some((value, field)) = values.next() {
        return Interest::Field(field, value);
    }
    if namespace.is_empty() { Interest::All } else { Interest::Namespace(namespace.into()) }
}

/// Why a list cannot be given.
enum Missing {
    TooLarge {
        wanted: Revision,
        current: Revision,
    },
    Expired {
        /// For the rest of a list whose revision is forgotten.
        resume: Option<String>,
    },
}

impl Wanted {
    fn read(query: &Query, target: &Target) -> Result<Self, Status> {
        check_options(query)?;
        let limit = query.limit()?;
        let version = query.text("resourceVersion");
        let wanted = revision(version)
            .map_err(|status| Status::bad_request(format!("invalid resource version: {}", status.message)))?;
        let token = query.text("continue");
        if !token.is_empty() {
            if !matches!(version, "" | "0") {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(message));
            }
            let (at, after) = read_token(token, target)?;
            return Ok(Self { at, after: Some(after), limit });
        }
        let exact = query.text("resourceVersionMatch") == "Exact";
        let at = match wanted {
            None | Some(Revision(0)) => At::Now,
            // Without a match, a revision with a limit means that very revision: the first page of a consistent list.
            Some(wanted) if exact => At::Exactly(wanted),
            Some(wanted) => At::NotOlderThan(wanted),
        };
        Ok(Self { at, after: None, limit })
    }

    fn page(&self, state: &State, target: &Target, selection: &Selection) -> Result<Page, Missing> {
        let current = state.revision();
        let wanted = match self.at {
            At::Now => current,
            At::NotOlderThan(wanted) | At::Exactly(wanted) => wanted,
        };
        if wanted > current {
            return Err(Missing::TooLarge { wanted, current });
        }
        match self.at {
            At::Exactly(then) if then < current => {
                let (resource, namespace) = (&*target.resource.id, target.path.namespace.as_str());
                let Some(objects) = state.list_at(then, resource, namespace) else {
                    let resume = self.after.as_ref().map(|after| write_token(None, after));
                    return Err(Missing::Expired { resume });
                };
                let objects =
                    objects.iter().filter(|stored| self.after.as_ref().is_none_or(|a| stored.key > *a));
                Ok(self.cut(objects, then, selection))
            }
            _ if self.after.is_none() && self.limit.is_none() => Ok(Page {
                items: select(state, target, selection),
                resource_version: current.to_string(),
                continue_token: None,
                remaining: None,
            }),
            _ => {
                let namespace = target.path.namespace.as_str();
                let start = Key::new(target.resource.id.clone(), namespace, "");
                let objects = state.list_after(self.after.as_ref().unwrap_or(&start), namespace);
                Ok(self.cut(objects, current, selection))
            }
        }
    }

    /// The first page of `objects`.
    fn cut<'a>(
        &self,
        objects: impl Iterator<Item = &'a Arc<Stored>>,
        revision: Revision,
        selection: &Selection,
    ) -> Page {
        let mut selected = objects.filter(|stored| selection.matches(stored));
        let items: Vec<Arc<Stored>> =
            selected.by_ref().take(self.limit.unwrap_or(usize::MAX)).cloned().collect();
        let rest = if selection.is_everything() { selected.count() } else { selected.take(1).count() };
        let last = items.last().filter(|_| rest > 0);
        Page {
            continue_token: last.map(|last| write_token(Some(revision), &last.key)),
            remaining: (selection.is_everything() && rest > 0).then_some(rest),
            resource_version: revision.to_string(),
            items,
        }
    }
}

/// Where a delete of a collection goes on; `None` for one that begins.
pub(crate) fn continued(query: &Query, target: &Target) -> Result<Option<Key>, Status> {
    match query.text("continue") {
        "" => Ok(None),
        token => read_token(token, target).map(|(_, after)| Some(after)),
    }
}

/// Says in a cut collection where to go on.
pub(crate) fn add_continue(list: &mut Value, resource: &Resource) {
    let Some(last) = list["items"].as_array().and_then(|items| items.last()) else { return };
    let text = |key: &str| last["metadata"][key].as_str().unwrap_or_default();
    let after = Key::new(resource.id.clone(), text("namespace"), text("name"));
    let revision = list["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
    list["metadata"]["continue"] = write_token(revision.map(Revision), &after).into();
}

/// A token that goes on after `after`: at that revision, or (after its loss) at whatever is current.
fn write_token(revision: Option<Revision>, after: &Key) -> String {
    let start = match after.namespace.as_ref() {
        "" => after.name.to_string(),
        namespace => format!("{namespace}/{}", after.name),
    };
    let revision = revision.map_or(-1, |revision| revision.0 as i64);
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str, target: &Target) -> Result<(At, Key), Status> {
    let invalid =
        || Status::bad_request("invalid continue token: continue key is not valid: it is none of this list");
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(length) => length - length % 4,
            DecodeError::InvalidPadding => token.len(),
        };
        let message = "invalid continue token: continue key is not valid: illegal base64 data at input byte";
        Status::bad_request(format!("{message} {at}"))
    })?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    let (revision, start) = (token["rv"].as_i64(), token["start"].as_str());
    let (Some(revision), Some(start), "meta.k8s.io/v1") =
        (revision, start, token["v"].as_str().unwrap_or_default())
    else {
        return Err(invalid());
    };
    let (namespace, name) = start.split_once('/').unwrap_or(("", start));
    let within = target.path.namespace.as_str();
    if !within.is_empty() && within != namespace {
        return Err(invalid());
    }
    let at = u64::try_from(revision).map_or(At::Now, |revision| At::Exactly(Revision(revision)));
    Ok((at, Key::new(target.resource.id.clone(), namespace, name)))
}

/// Kubernetes has the parameter and, by default, sends everything all the same.
pub(crate) fn refuse_shards(query: &Query, problems: &mut Problems) {
    if !query.text("shardSelector").is_empty() {
        problems.forbidden("shardSelector", "Berth does not divide lists and watches into shards");
    }
}

/// Refuses what no list can be asked for.
pub(crate) fn check_options(query: &Query) -> Result<(), Status> {
    let mut problems = Problems::default();
    if query.optional_flag("sendInitialEvents").is_some() {
        problems.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    refuse_shards(query, &mut problems);
    let field = "resourceVersionMatch";
    match query.version_match() {
        Ok(VersionMatch::Unset) => {}
        _ if query.text("resourceVersion").is_empty() => {
            problems.forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        _ if !query.text("continue").is_empty() => {
            problems.forbidden(field, "resourceVersionMatch is forbidden when continue is provided");
        }
        Err(unknown) => problems.causes.extend(unknown.causes),
        Ok(VersionMatch::Exact) if query.text("resourceVersion") == "0" => {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            problems.forbidden(field, detail);
        }
        Ok(VersionMatch::Exact | VersionMatch::NotOlderThan) => {}
    }
    if problems.is_empty() { Ok(()) } else { Err(invalid_options("ListOptions", problems)) }
}

fn too_old() -> Status {
    Status::new(Reason::Expired, "The resourceVersion for the provided list is too old.")
}

fn continue_too_old() -> Status {
    Status::new(
        Reason::Expired,
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::ObjectPath;

    #[test]
    fn a_watch_follows_no_more_than_it_selects() {
        let catalogue = berth_api::kinds::catalogue();
        let object = |namespace: &str, name: &str| Interest::Object(namespace.into(), name.into());
        let namespace = |name: &str| Interest::Namespace(name.into());
        let node = |name: &str| Interest::Field("spec.nodeName".into(), name.into());
        for (resource, place, selector, wanted) in [
            ("pods", "", "", Interest::All),
            ("pods", "a", "", namespace("a")),
            ("pods", "a", "metadata.name=p", object("a", "p")),
            ("pods", "a", "spec.nodeName=n,metadata.name==p", object("a", "p")),
            ("pods", "", "metadata.namespace=a,metadata.name=p", object("a", "p")),
            ("pods", "", "metadata.namespace=a", namespace("a")),
            ("pods", "", "metadata.name=p", Interest::All),
            ("pods", "", "spec.nodeName=n", node("n")),
            ("pods", "a", "status.phase!=Failed,spec.nodeName=n", node("n")),
            ("pods", "", "spec.nodeName=", node("")),
            ("pods", "", "spec.nodeName!=n", Interest::All),
            ("pods", "a", "metadata.name!=p,status.phase=Failed", namespace("a")),
            ("nodes", "", "metadata.name=n", object("", "n")),
            ("nodes", "", "", Interest::All),
        ] {
            let resource = catalogue.named(resource).unwrap();
            let selector = format!("fieldSelector={selector}");
            let selection = Selection::read(&Query::parse(Some(&selector)), resource).unwrap();
            assert_eq!(interest_of(resource, place, &selection), wanted, "{resource:?} {place} {selector}");
        }
    }

    #[test]
    fn a_cut_collection_says_where_it_goes_on() {
        let catalogue = berth_api::kinds::catalogue();
        let resource = catalogue.named("configmaps").unwrap().clone();
        let mut list = json!({
            "metadata": { "resourceVersion": "7" },
            "items": [{ "metadata": { "name": "m", "namespace": "a" } }],
        });
        add_continue(&mut list, &resource);
        let path = ObjectPath { namespace: "a".to_owned(), ..ObjectPath::default() };
        let target = Target { resource, path, subresource: "" };
        let token = list["metadata"]["continue"].as_str().unwrap();
        let query = Query::parse(Some(&format!("continue={token}")));
        let after = Key::new("configmaps", "a", "m");
        assert_eq!(continued(&query, &target), Ok(Some(after.clone())));
        assert_eq!(read_token(token, &target), Ok((At::Exactly(Revision(7)), after)));
    }
}
