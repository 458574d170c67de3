//! Acting as somebody else (`kubectl --as`), for those who may: the administrator looks at what others may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::status::Details;
use berth_api::{Reason, Status};
use berth_cluster::Cluster;
use berth_json::json;
use berth_pipeline::{Body, Identity, Options, Request, Verb};
use http::HeaderMap;
use percent_encoding::percent_decode_str;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// The API group of what is impersonated besides users and groups.
const AUTHENTICATION: &str = "authentication.k8s.io";

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
    check(cluster, &caller, "", "users", &wanted.user).await?;
    for group in texts(headers, GROUP)? {
        check(cluster, &caller, "", "groups", group).await?;
    }
    if !wanted.uid.is_empty() {
        check(cluster, &caller, AUTHENTICATION, "uids", &wanted.uid).await?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check(cluster, &caller, AUTHENTICATION, &format!("userextras/{key}"), value).await?;
        }
    }
    Ok(Arc::new(wanted))
}

fn wanted(headers: &HeaderMap) -> Result<Option<Identity>, Status> {
    let extra = extra(headers)?;
    let (users, groups, uids) = (texts(headers, USER)?, texts(headers, GROUP)?, texts(headers, UID)?);
    let (user, uid) = (users.first().copied().unwrap_or_default(), uids.first().copied().unwrap_or_default());
    if user.is_empty() {
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        let why = "a group, uid or extra field can only be impersonated together with a user";
        return Err(Status::bad_request(why));
    }
    let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
    groups.extend(own_groups(user, groups.is_empty()));
    Ok(Some(Identity { user: user.to_owned(), uid: uid.to_owned(), groups, extra }))
}

/// What `Impersonate-Extra-<key>` headers say; a key's capital letters and special characters are percent-encoded.
fn extra(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Status> {
    let mut extra = BTreeMap::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let decoded = percent_decode_str(key).decode_utf8().ok();
        let key = decoded.filter(|key| !key.is_empty()).ok_or_else(|| {
            Status::bad_request(format!("{name}: the header's name holds no key, or one that is no text"))
        })?;
        let values = texts(headers, name.as_str())?.into_iter().map(str::to_owned);
        extra.entry(key.to_lowercase()).or_insert_with(Vec::new).extend(values);
    }
    Ok(extra)
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
async fn check(
    cluster: &Cluster,
    caller: &Arc<Identity>,
    group: &str,
    resource: &str,
    name: &str,
) -> Result<(), Status> {
    let review = "selfsubjectaccessreviews.authorization.k8s.io";
    let Some(review) = cluster.catalogue().named(review).cloned() else {
        return Err(refused(caller, group, resource, name));
    };
    let (plural, part) = resource.split_once('/').unwrap_or((resource, ""));
    let asked = json!({
        "verb": "impersonate", "group": group, "resource": plural, "subresource": part, "name": name,
    });
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
    if answer.object()["status"]["allowed"] == true {
        Ok(())
    } else {
        Err(refused(caller, group, resource, name))
    }
}

fn refused(caller: &Identity, group: &str, resource: &str, name: &str) -> Status {
    let plural = resource.split('/').next().unwrap_or_default();
    let dot = if group.is_empty() { "" } else { "." };
    let message = format!(
        "{plural}{dot}{group} \"{name}\" is forbidden: User \"{}\" cannot impersonate resource \"{resource}\" in API \
         group \"{group}\" at the cluster scope",
        caller.user
    );
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: plural.to_owned(),
        ..Details::default()
    };
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
    }

    #[test]
    fn headers_say_more_about_an_identity() {
        let node = "impersonate-extra-authentication.kubernetes.io%2fnode-name";
        let scopes = "impersonate-extra-%53copes";
        let pairs = [(USER, "u"), (scopes, "a"), (node, "n1"), (scopes, "b")];
        let extra = read(&pairs).unwrap().unwrap().extra;
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let expected = [
            ("authentication.kubernetes.io/node-name".to_owned(), texts(&["n1"])),
            ("scopes".to_owned(), texts(&["a", "b"])),
        ];
        assert_eq!(extra, expected.into());
        assert_eq!(read(&[(node, "n1")]).unwrap_err().code, 400, "nobody's");
        assert_eq!(read(&[(USER, "u"), ("impersonate-extra-", "x")]).unwrap_err().code, 400, "no key");
        assert_eq!(read(&[(USER, "u"), ("impersonate-extra-%ff", "x")]).unwrap_err().code, 400, "no text");
    }
}
