//! Whatever a client writes into the head of a request, it gets an answer. `BERTH_FUZZ_ITERATIONS` says how many are tried.

use berth_api::{Timestamp, kinds};
use http::header::{ACCEPT, HeaderValue};
use http::{HeaderMap, Uri};

use crate::list::Selection;
use crate::path::{self, ObjectPath, Route};
use crate::query::Query;
use crate::render::Context;
use crate::rest::Target;
use crate::{list, negotiate, pretty};

/// How many heads are tried: few enough for every run of the tests.
const ITERATIONS: usize = 2000;

const PIECES: [&str; 46] = [
    "/api",
    "/v1",
    "/apis",
    "/apps",
    "/watch",
    "/namespaces",
    "/default",
    "/pods",
    "/p",
    "/log",
    "/openapi",
    "/v3",
    "/healthz",
    "/version",
    "/..",
    "//",
    "%2e",
    "%00",
    "%ff",
    "%",
    "?",
    "&",
    "=",
    "limit",
    "continue",
    "watch",
    "labelSelector",
    "fieldSelector",
    "a in (b,c)",
    "metadata.name",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "fieldManager",
    "dryRun",
    "All",
    "propagationPolicy",
    "gracePeriodSeconds",
    "pretty",
    "18446744073709551616",
    "-1",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
    "application/json",
    ";as=Table;v=v1;g=meta.k8s.io",
    ",*/*;q=",
    "é",
];

fn text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match PIECES.get(usize::from(*byte) % (PIECES.len() + 4)) {
            Some(piece) => (*piece).to_owned(),
            None => char::from(*byte).to_string(),
        })
        .collect()
}

#[test]
fn heads() {
    let iterations = std::env::var("BERTH_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok());
    let catalogue = kinds::catalogue();
    let resource = catalogue.named("pods").unwrap();
    let path = ObjectPath { namespace: "default".to_owned(), ..ObjectPath::default() };
    let target = Target { resource: resource.clone(), path, subresource: "" };
    bolero::check!()
        .with_iterations(iterations.unwrap_or(ITERATIONS))
        .with_max_len(100)
        .with_type::<Vec<u8>>()
        .for_each(|bytes| {
            let text = text(bytes);
            if let Ok(uri) = text.parse::<Uri>()
                && let Route::Object(path) = path::route(uri.path())
            {
                assert!(!path.plural.is_empty(), "{text}");
            }
            let query = Query::parse(Some(&text));
            for kind in ["CreateOptions", "PatchOptions", "DeleteOptions"] {
                let _ = query.options(kind, &text);
            }
            let _ = Selection::read(&query, resource);
            let _ = list::continued(&query, &target);
            let _ = Context::read(&query, Timestamp::from_micros(0));
            let _ = query.version_match();
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(ACCEPT, value);
            }
            let _ = (negotiate::object_form(&headers), negotiate::watch_form(&headers));
            let _ = (negotiate::discovery_form(&headers), pretty::wanted(Some(&text), &headers));
        });
}
