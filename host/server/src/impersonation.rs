//! Acting as somebody else (`kubectl --as`), for those who may: the administrator looks at what others may do.

use std::sync::Arc;

use berth_api::status::Details;
use berth_api::{Reason, Status};
use berth_json::json;
use berth_pipeline::{Body, Cluster, Identity, Options, Request, Verb};
use http::HeaderMap;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Who a request is to be taken as coming from: the one whom its headers name, else `caller`.
///
/// # Errors
/// 403 for a caller who may not, 400 for headers that cannot be honoured.
pub(crate) async fn effective(
    cluster: &Cluster,
    caller: Arc<Identity>,
    headers: &HeaderMap,
) -> Result<Arc<Identity>, Status> {
    let Some(wanted) = wanted(headers)? else { return Ok(caller) };
    check(cluster, &caller, "users", &wanted.user).await?;
    for group in texts(headers, GROUP)? {
        check(cluster, &caller, "groups", group).await?;
    }
    if !wanted.uid.is_empty() {
        check(cluster, &caller, "uids", &wanted.uid).await?;
    }
    Ok(Arc::new(wanted))
}

fn wanted(headers: &HeaderMap) -> Result<Option<Identity>, Status> {
    if let Some(extra) = headers.keys().find(|name| name.as_str().starts_with(EXTRA)) {
        return Err(Status::bad_request(format!(
            "{extra}: identities have no extra fields in berth; leave it out"
        )));
    }
    let (users, groups, uids) = (texts(headers, USER)?, texts(headers, GROUP)?, texts(headers, UID)?);
    let (user, uid) = (users.first().copied().unwrap_or_default(), uids.first().copied().unwrap_or_default());
    if user.is_empty() {
        if uid.is_empty() && groups.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request("a group or uid can only be impersonated together with a user"));
    }
    let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
    groups.extend(own_groups(user, groups.is_empty()));
    Ok(Some(Identity { user: user.to_owned(), uid: uid.to_owned(), groups }))
}

/// The values of a header. One that is no text must not be passed over: the request would be taken as the caller's own.
fn texts<'h>(headers: &'h HeaderMap, name: &str) -> Result<Vec<&'h str>, Status> {
    let refused =
        |_| Status::bad_request(format!("{name}: the header holds something else than printable ASCII"));
    headers.get_all(name).iter().map(|value| value.to_str().map_err(refused)).collect()
}

/// The groups that come with a user's name, whatever else is said; those of a service account only when nothing is.
fn own_groups(user: &str, is_all: bool) -> Vec<String> {
    let mut groups = Vec::new();
    let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    if let (Some((namespace, _)), true) = (account, is_all) {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let everybody =
        if user == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    groups.push(everybody.to_owned());
    groups
}

/// Asks as any other client would: by a review.
async fn check(cluster: &Cluster, caller: &Arc<Identity>, resource: &str, name: &str) -> Result<(), Status> {
    let review = "selfsubjectaccessreviews.authorization.k8s.io";
    let Some(review) = cluster.catalogue().named(review).cloned() else {
        return Err(refused(caller, resource, name));
    };
    let asked = json!({ "verb": "impersonate", "resource": resource, "name": name });
    let request = Request {
        identity: caller.clone(),
        verb: Verb::Create,
        resource: review,
        subresource: "",
        namespace: String::new(),
        name: String::new(),
        body: Body::Object(json!({ "spec": { "resourceAttributes": asked } })),
        options: Options::default(),
    };
    let answer = cluster.apply(request).await?;
    if answer.object()["status"]["allowed"] == true { Ok(()) } else { Err(refused(caller, resource, name)) }
}

fn refused(caller: &Identity, resource: &str, name: &str) -> Status {
    let message = format!(
        "{resource} \"{name}\" is forbidden: User \"{}\" cannot impersonate resource \"{resource}\" in API group \"\" \
         at the cluster scope",
        caller.user
    );
    let details = Details { name: name.to_owned(), kind: resource.to_owned(), ..Details::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Forbidden, message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Option<Identity>, Status> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        wanted(&headers)
    }

    #[test]
    fn headers_name_an_identity() {
        assert_eq!(read(&[]), Ok(None));
        let groups = |pairs: &[(&'static str, &'static str)]| read(pairs).unwrap().unwrap().groups;
        assert_eq!(groups(&[(USER, "u"), (GROUP, "a"), (GROUP, "b")]), ["a", "b", "system:authenticated"]);
        let account = (USER, "system:serviceaccount:ns:x");
        let own = ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"];
        assert_eq!(groups(&[account]), own);
        assert_eq!(groups(&[account, (GROUP, "a")]), ["a", "system:authenticated"]);
        assert_eq!(groups(&[(USER, "system:anonymous")]), ["system:unauthenticated"]);
        assert_eq!(read(&[(GROUP, "a")]).unwrap_err().code, 400);
        assert_eq!(read(&[(USER, "j\u{f6}rg")]).unwrap_err().code, 400);
        assert_eq!(read(&[(USER, "u"), ("impersonate-extra-scopes", "x")]).unwrap_err().code, 400);
    }
}
