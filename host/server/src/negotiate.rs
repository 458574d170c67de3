//! Content negotiation: what `Accept` asks for, and what it gets.

use berth_api::status::Details;
use berth_api::{Reason, Status};
use http::HeaderMap;
use http::header::ACCEPT;

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What an object is turned into first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transform {
    /// Nothing else.
    None,
    /// A Table.
    Table(MetaVersion),
    /// PartialObjectMetadata.
    Metadata(MetaVersion),
    /// PartialObjectMetadataList.
    MetadataList(MetaVersion),
}

/// The version of `meta.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
}

/// What an answer becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    pub(crate) transform: Transform,
}

/// The plain form: the object itself in JSON.
pub(crate) const JSON: Form = Form { encoding: Encoding::Json, transform: Transform::None };

/// One entry of an `Accept` header.
#[derive(Clone, Debug, PartialEq)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Thousandths, so that they compare exactly.
    quality: u16,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Encoding {
    /// The `Content-Type`.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

impl MetaVersion {
    /// `v1` or `v1beta1`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// What the answer to an object's or a collection's request becomes.
pub(crate) fn object_form(headers: &HeaderMap) -> Result<Form, Status> {
    first_accepted(headers, |range, encoding| {
        let transform = transform(range)?;
        // A Table has no protobuf form.
        let possible = encoding != Encoding::Protobuf || !matches!(transform, Transform::Table(_));
        possible.then_some(Form { encoding, transform })
    })
}

/// What the answer becomes where something is only posted, as a review or a binding: it has no columns, so no Table.
pub(crate) fn posted_form(headers: &HeaderMap) -> Result<Form, Status> {
    first_accepted(headers, |range, encoding| {
        let transform = transform(range)?;
        (!matches!(transform, Transform::Table(_))).then_some(Form { encoding, transform })
    })
}

/// What the events of a watch become; they are streamed in JSON only, which every client that prefers protobuf takes too.
pub(crate) fn watch_form(headers: &HeaderMap) -> Result<Form, Status> {
    first_accepted(headers, |range, encoding| {
        let transform = transform(range)?;
        (encoding == Encoding::Json).then_some(Form { encoding, transform })
    })
}

/// What the answer to anything else becomes; no transformation is accepted.
pub(crate) fn plain_form(headers: &HeaderMap) -> Result<Form, Status> {
    first_accepted(headers, |range, encoding| {
        let plain = transform(range) == Some(Transform::None);
        plain.then_some(Form { encoding, transform: Transform::None })
    })
}

/// The same for what has no protobuf form.
pub(crate) fn text_form(headers: &HeaderMap) -> Result<Form, Status> {
    first_accepted(headers, |range, encoding| {
        let plain = transform(range) == Some(Transform::None) && encoding != Encoding::Protobuf;
        plain.then_some(Form { encoding, transform: Transform::None })
    })
}

/// The version in which discovery is to be aggregated (`v2`, `v2beta1`), or `None` for the legacy form.
pub(crate) fn discovery_form(headers: &HeaderMap) -> Result<(Form, Option<&'static str>), Status> {
    first_accepted(headers, |range, encoding| {
        let form = Form { encoding, transform: Transform::None };
        if transform(range) == Some(Transform::None) {
            return Some((form, None));
        }
        let aggregated = range.parameter("g") == "apidiscovery.k8s.io"
            && range.parameter("as") == "APIGroupDiscoveryList"
            && encoding == Encoding::Json;
        match range.parameter("v") {
            "v2" if aggregated => Some((form, Some("v2"))),
            "v2beta1" if aggregated => Some((form, Some("v2beta1"))),
            _ => None,
        }
    })
}

/// The encoding of an error: that of the object asked for where it can be given at all, else JSON.
pub(crate) fn error_encoding(headers: &HeaderMap) -> Encoding {
    object_form(headers).map_or(Encoding::Json, |form| form.encoding)
}

fn first_accepted<T>(
    headers: &HeaderMap,
    accept: impl Fn(&Range<'_>, Encoding) -> Option<T>,
) -> Result<T, Status> {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let text = values.join(",");
    let text = if text.trim().is_empty() { "*/*" } else { &text };
    let mut ranges: Vec<Range<'_>> = text.split(',').filter_map(Range::parse).collect();
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
    let mut known = false;
    for range in &ranges {
        let Some(encoding) = range.encoding() else { continue };
        known = true;
        if let Some(found) = accept(range, encoding) {
            return Ok(found);
        }
    }
    Err(not_acceptable(known))
}

fn transform(range: &Range<'_>) -> Option<Transform> {
    let (kind, group) = (range.parameter("as"), range.parameter("g"));
    if kind.is_empty() && group.is_empty() {
        return Some(Transform::None);
    }
    let version = match (group, range.parameter("v")) {
        ("meta.k8s.io", "v1") => MetaVersion::V1,
        ("meta.k8s.io", "v1beta1") => MetaVersion::V1Beta1,
        _ => return None,
    };
    match kind {
        "Table" => Some(Transform::Table(version)),
        "PartialObjectMetadata" => Some(Transform::Metadata(version)),
        "PartialObjectMetadataList" => Some(Transform::MetadataList(version)),
        _ => None,
    }
}

fn not_acceptable(media_type_is_known: bool) -> Status {
    const ALL: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    if media_type_is_known {
        let message = format!("only the following media types are accepted: {ALL}");
        return Status::new(Reason::NotAcceptable, message);
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {ALL}");
    Status { details: Some(Box::new(Details::default())), ..Status::new(Reason::NotAcceptable, message) }
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/').unwrap_or(("*", "*"));
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse::<f32>().ok());
        let quality = (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u16;
        (quality > 0).then_some(Self { kind, subtype, quality, parameters })
    }

    fn parameter(&self, key: &str) -> &str {
        self.parameters.iter().find(|(k, _)| *k == key).map_or("", |(_, value)| value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match (self.kind, self.subtype) {
            ("*", "*") | ("application", "*" | "json") => Some(Encoding::Json),
            ("application", "yaml") => Some(Encoding::Yaml),
            ("application", "vnd.kubernetes.protobuf") => Some(Encoding::Protobuf),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_falls_back_to_json() {
        let both = headers("application/vnd.kubernetes.protobuf,application/json");
        assert_eq!(watch_form(&both).unwrap(), JSON);
        assert_eq!(watch_form(&headers("application/vnd.kubernetes.protobuf")).unwrap_err().code, 406);
    }

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers
    }

    #[test]
    fn forms() {
        let table = Form { encoding: Encoding::Json, transform: Transform::Table(MetaVersion::V1) };
        let yaml = Form { encoding: Encoding::Yaml, transform: Transform::None };
        let protobuf = Form { encoding: Encoding::Protobuf, transform: Transform::None };
        for (accept, expected) in [
            ("", JSON),
            ("*/*", JSON),
            ("application/xml, application/json;q=0.5", JSON),
            ("application/yaml;q=0.9,application/json;q=0.8", yaml),
            ("application/vnd.kubernetes.protobuf,application/json", protobuf),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", table),
            ("application/json;as=Chart;v=v1;g=meta.k8s.io,application/json", JSON),
            ("application/json;stream=watch", JSON),
        ] {
            assert_eq!(object_form(&headers(accept)), Ok(expected), "{accept}");
        }
    }

    #[test]
    fn refusals() {
        let text = |accept| object_form(&headers(accept)).unwrap_err().message;
        assert!(text("text/plain").starts_with("406: Not Acceptable"));
        assert!(text("application/json;as=Table;v=v9;g=meta.k8s.io").starts_with("only the following"));
        let table = headers("application/json;as=Table;v=v1;g=meta.k8s.io");
        assert!(plain_form(&table).is_err());
        assert_eq!(posted_form(&table).unwrap_err().code, 406);
        assert_eq!(text_form(&headers("application/vnd.kubernetes.protobuf")).unwrap_err().code, 406);
        assert_eq!(text_form(&headers("application/vnd.kubernetes.protobuf,application/json")), Ok(JSON));
    }

    #[test]
    fn discovery() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(discovery_form(&headers(kubectl)), Ok((JSON, Some("v2"))));
        assert_eq!(discovery_form(&headers("application/json")), Ok((JSON, None)));
        assert!(
            discovery_form(&headers(&kubectl.replace("v=v2;", "v=v9;").replace(",application/json", "")))
                .is_err()
        );
    }
}
