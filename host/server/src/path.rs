//! From a request's path to what it names.

use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz`, or one check below them.
    Health {
        /// `healthz`, `livez` or `readyz`.
        probe: &'static str,
        /// The one check that is asked for; empty for all.
        check: String,
    },
    /// `/.well-known/openid-configuration`.
    IssuerConfiguration,
    /// `/openid/v1/jwks`.
    IssuerKeys,
    /// `/`.
    Paths,
    /// `/metrics`.
    Metrics,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`.
    Resources {
        /// API group; empty for the core group.
        group: String,
        /// API version.
        version: String,
    },
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/api/v1` or `/openapi/v3/apis/<group>/<version>`.
    OpenApi {
        /// API group; empty for the core group.
        group: String,
        /// API version.
        version: String,
    },
    /// A collection, an object, or a part of one.
    Object(ObjectPath),
    /// Nothing that could ever be served.
    Nothing,
}

/// The path of a collection or an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectPath {
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// API version.
    pub(crate) version: String,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub(crate) namespace: String,
    /// The plural in the path.
    pub(crate) plural: String,
    /// Empty for the collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// Whether it is the deprecated `/watch/` form.
    pub(crate) watch: bool,
}

/// Reads a path.
pub(crate) fn route(path: &str) -> Route {
    if path == "/" {
        return Route::Paths;
    }
    let Some(segments) = segments(path) else { return Route::Nothing };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["version"] => Route::Version,
        ["metrics"] => Route::Metrics,
        [".well-known", "openid-configuration"] => Route::IssuerConfiguration,
        ["openid", "v1", "jwks"] => Route::IssuerKeys,
        ["healthz", rest @ ..] => health("healthz", rest),
        ["livez", rest @ ..] => health("livez", rest),
        ["readyz", rest @ ..] => health("readyz", rest),
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", "api", version] => {
            Route::OpenApi { group: String::new(), version: (*version).to_owned() }
        }
        ["openapi", "v3", "apis", group, version] => {
            Route::OpenApi { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["api", version] => Route::Resources { group: String::new(), version: (*version).to_owned() },
        ["apis", group] => Route::Group((*group).to_owned()),
        ["apis", group, version] => {
            Route::Resources { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["api", version, rest @ ..] => object("", version, rest),
        ["apis", group, version, rest @ ..] => object(group, version, rest),
        _ => Route::Nothing,
    }
}

/// The decoded segments; `None` when a segment is empty or no UTF-8. A slash at the end does not count.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8().ok()?;
            (!decoded.is_empty()).then(|| decoded.into_owned())
        })
        .collect()
}

fn health(probe: &'static str, rest: &[&str]) -> Route {
    match rest {
        [] => Route::Health { probe, check: String::new() },
        [check] => Route::Health { probe, check: (*check).to_owned() },
        _ => Route::Nothing,
    }
}

fn object(group: &str, version: &str, segments: &[&str]) -> Route {
    let (watch, segments): (bool, &[&str]) = match segments {
        ["watch", rest @ ..] => (true, rest),
        _ => (false, segments),
    };
    let (namespace, rest): (&str, &[&str]) = match segments {
        // `/namespaces/<name>` and its parts are the Namespace itself, anything longer is in the namespace.
        ["namespaces", name, part @ ("status" | "finalize")] => return namespace_part(version, name, part),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (namespace, rest),
        _ => ("", segments),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return Route::Nothing,
    };
    Route::Object(ObjectPath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        plural: plural.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        watch,
    })
}

fn namespace_part(version: &str, name: &str, subresource: &str) -> Route {
    Route::Object(ObjectPath {
        version: version.to_owned(),
        plural: "namespaces".to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        ..ObjectPath::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str) -> (String, String, String, String) {
        match route(path) {
            Route::Object(o) => (o.namespace, o.plural, o.name, o.subresource),
            other => panic!("{path} is {other:?}"),
        }
    }

    fn parts(parts: [&str; 4]) -> (String, String, String, String) {
        let [a, b, c, d] = parts.map(str::to_owned);
        (a, b, c, d)
    }

    #[test]
    fn objects() {
        for (path, expected) in [
            ("/api/v1/pods", ["", "pods", "", ""]),
            ("/api/v1/namespaces", ["", "namespaces", "", ""]),
            ("/api/v1/namespaces/a", ["", "namespaces", "a", ""]),
            ("/api/v1/namespaces/a/status", ["", "namespaces", "a", "status"]),
            ("/api/v1/namespaces/a/pods", ["a", "pods", "", ""]),
            ("/api/v1/namespaces/a/pods/p/log", ["a", "pods", "p", "log"]),
            ("/apis/apps/v1/namespaces/a/deployments/d%2E1/", ["a", "deployments", "d.1", ""]),
            ("/api/v1/watch/namespaces/a/pods", ["a", "pods", "", ""]),
        ] {
            assert_eq!(object(path), parts(expected), "{path}");
        }
    }

    #[test]
    fn nothing() {
        assert_eq!(route("/"), Route::Paths);
        for path in ["", "/x", "//", "/api//pods", "/api/v1/namespaces/a/pods/p/log/x", "/api/v1/%ff"] {
            assert_eq!(route(path), Route::Nothing, "{path}");
        }
    }
}
