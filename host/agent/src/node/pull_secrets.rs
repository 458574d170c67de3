//! Credentials from a pod's pull secrets.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_image::{Credentials, Login, Reference};
use serde_json::Value;

use crate::node::image_failure::ImageFailure;

/// A secret of a pod's list.
pub(crate) struct PullSecret {
    pub(crate) name: String,
    pub(crate) object: Arc<Value>,
}

/// What the secrets have for an image.
pub(crate) struct FoundLogins {
    pub(crate) logins: Vec<Login>,
    /// Secrets of which nothing can be read.
    unreadable: Vec<String>,
}

impl FoundLogins {
    /// Says of a failure which secrets could not have prevented it.
    pub(crate) fn explain(&self, mut failure: ImageFailure) -> ImageFailure {
        for name in &self.unreadable {
            failure.message += &format!(
                "; secret {name:?} was not tried: it has neither a .dockerconfigjson with \"auths\" nor a .dockercfg"
            );
        }
        failure
    }
}

/// The credentials that the pull secrets have for a reference, in the order in which the kubelet tries them: those first
/// that say most about the repository, and of equal ones in the order of the list.
pub(crate) fn logins_for(secrets: &[PullSecret], reference: &Reference) -> FoundLogins {
    let (mut fitting, mut unreadable) = (Vec::new(), Vec::new());
    for secret in secrets {
        let Some(entries) = entries(&secret.object) else {
            unreadable.push(secret.name.clone());
            continue;
        };
        fitting.extend(entries.iter().filter_map(|(server, entry)| {
            let login =
                Login { origin: format!("secret {:?}", secret.name), credentials: credentials(entry)? };
            Some((fit(server, reference)?, login))
        }));
    }
    fitting.sort_by_key(|(path_bytes, _)| std::cmp::Reverse(*path_bytes));
    FoundLogins { logins: fitting.into_iter().map(|(_, login)| login).collect(), unreadable }
}

/// Servers and what a secret says of each: a `config.json` of Docker's, or the older form without anything around it.
/// `None` when it is neither.
fn entries(secret: &Value) -> Option<Vec<(String, Value)>> {
    let read = |key: &str| -> Option<Value> {
        let bytes = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let auths = match (read(".dockerconfigjson"), read(".dockercfg")) {
        (Some(mut config), _) => config["auths"].take(),
        (None, auths) => auths?,
    };
    let Value::Object(auths) = auths else { return None };
    Some(auths.into_iter().collect())
}

fn credentials(entry: &Value) -> Option<Credentials> {
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(Credentials::Basic { username, password });
    }
    let pair = STANDARD.decode(entry["auth"].as_str()?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
}

/// Whether a key of `auths` means this image: a registry, perhaps with `*` in the parts of its name, and perhaps with
/// the beginning of a repository's path. The length of that path, if it does.
fn fit(server: &str, reference: &Reference) -> Option<usize> {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    // Docker Hub is written as it was in 2013.
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    // The API's version is no part of a repository's path.
    let path = match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", rest) => rest,
        _ => path,
    };
    let path = path.trim_matches('/');
    let is_host = host.split('.').count() == reference.registry().split('.').count()
        && host.split('.').zip(reference.registry().split('.')).all(|(pattern, part)| is_like(pattern, part));
    let rest = reference.repository().strip_prefix(path)?;
    let is_path = path.is_empty() || rest.is_empty() || rest.starts_with('/');
    (is_host && is_path).then_some(path.len())
}

/// Whether a part of a name is as the pattern has it, in which `*` stands for anything.
fn is_like(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = part.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(name: &str, data: Value) -> PullSecret {
        PullSecret { name: name.to_owned(), object: Arc::new(json!({ "data": data })) }
    }

    fn encode(text: &str) -> String {
        STANDARD.encode(text)
    }

    fn tried(secrets: &[PullSecret], image: &str) -> Vec<String> {
        let logins = logins_for(secrets, &image.parse().unwrap()).logins;
        let shown = logins.into_iter().map(|login| match login.credentials {
            Credentials::Basic { username, password } => format!("{username}:{password}"),
            other => format!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn fitting_credentials_are_tried_in_the_order_of_the_list_the_most_special_first() {
        let config =
            |auths: Value| json!({ ".dockerconfigjson": encode(&json!({ "auths": auths }).to_string()) });
        let stale = secret("b-stale", config(json!({ "r.example.com": { "auth": encode("u:stale") } })));
        let good =
            secret("a-good", config(json!({ "https://r.example.com/v2/": { "auth": encode("u:good") } })));
        let special =
            secret("special", config(json!({ "r.example.com/v1team": { "auth": encode("u:team") } })));
        let broken = secret("broken", json!({ ".dockerconfigjson": encode("nonsense") }));
        let secrets = [stale, broken, good, special];
        assert_eq!(tried(&secrets, "r.example.com/x"), ["u:stale", "u:good"]);
        assert_eq!(tried(&secrets, "r.example.com/v1team/x"), ["u:team", "u:stale", "u:good"]);
        assert!(tried(&secrets, "r.example.com/team/x").len() == 2, "v1team is a name, not a version");
        let found = logins_for(&secrets, &"r.example.com/x".parse().unwrap());
        assert_eq!(found.logins[1].origin, "secret \"a-good\"");
        let failure = ImageFailure { reason: "ErrImagePull", message: "refused".to_owned() };
        let message = found.explain(failure).message;
        assert!(message.starts_with("refused; secret \"broken\" was not tried: "), "{message}");
    }

    #[test]
    fn pull_secrets_are_matched_by_registry_and_path() {
        let auths = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": encode("hub:h") },
            "registry.example.com:5000": { "username": "u", "password": "p" },
            "git.example.com": { "auth": encode("all:g") },
            "git.example.com/team/app": { "auth": encode("app:g") },
            "git.example.com/team": { "auth": encode("team:g") },
            "*.cloud.example.com": { "auth": encode("any:c") },
        } });
        let old = json!({ "old.example.com": { "auth": encode("old:o") } });
        let secrets = [
            secret("new", json!({ ".dockerconfigjson": encode(&auths.to_string()) })),
            secret("old", json!({ ".dockercfg": encode(&old.to_string()) })),
        ];
        let of = |image: &str| tried(&secrets, image).into_iter().next().unwrap_or("none".to_owned());
        for (image, expected) in [
            ("nginx", "hub:h"),
            ("registry.example.com:5000/x", "u:p"),
            ("git.example.com/team/app:1", "app:g"),
            ("git.example.com/team/app/part", "app:g"),
            ("git.example.com/team/apple", "team:g"),
            ("git.example.com/other", "all:g"),
            ("eu.cloud.example.com/x", "any:c"),
            ("a.eu.cloud.example.com/x", "none"),
            ("old.example.com/x", "old:o"),
            ("other.example.com/x", "none"),
        ] {
            assert_eq!(of(image), expected, "{image}");
        }
        for (pattern, part, expected) in [
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "ac", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(is_like(pattern, part), expected, "{pattern} {part}");
        }
    }
}
