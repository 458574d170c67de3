//! JSON for eyes: indented for whoever asks with `?pretty`, and for programs at which people sit.

use berth_client::Body;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;

use crate::parts::{self, Filter};
use crate::query::Query;
use crate::respond::full;

/// How the user agents of such programs begin; the API server knows the same.
const FOR_EYES: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Whether an answer is to be indented.
pub(crate) fn wanted(query: Option<&str>, headers: &HeaderMap) -> bool {
    if query.is_some_and(|query| query.contains("pretty")) {
        let query = Query::parse(query);
        let word = query.text("pretty");
        if !word.is_empty() {
            return ["1", "t", "T", "true", "TRUE", "True"].contains(&word);
        }
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    FOR_EYES.iter().any(|begin| agent.starts_with(begin))
}

/// Indents an answer that is one document in JSON; others stay as they are.
pub(crate) async fn indent(response: Response<Body>) -> Response<Body> {
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json && parts::are_in(&response) {
        return response.map(|body| parts::through(body, Indenter::default()));
    }
    if !is_json || http_body::Body::size_hint(response.body()).exact().is_none() {
        return response;
    }
    let (head, body) = response.into_parts();
    // A body that is there as a whole cannot break off.
    let bytes = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    Response::from_parts(head, full(Indenter::default().part(&bytes)))
}

/// Writes JSON with two spaces a level; empty objects and lists stay on their line.
#[derive(Default)]
struct Indenter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    just_opened: bool,
}

impl Indenter {
    fn write(&mut self, json: &[u8], out: &mut Vec<u8>) {
        let new_line = |out: &mut Vec<u8>, depth: usize| {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', depth * 2));
        };
        for &byte in json {
            if self.in_string {
                out.push(byte);
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            let closes = matches!(byte, b'}' | b']');
            self.depth -= usize::from(closes);
            if closes != self.just_opened && (closes || self.just_opened) {
                new_line(out, self.depth);
            }
            self.just_opened = matches!(byte, b'{' | b'[');
            self.depth += usize::from(self.just_opened);
            self.in_string = byte == b'"';
            match byte {
                b':' => out.extend_from_slice(b": "),
                b',' => {
                    out.push(b',');
                    new_line(out, self.depth);
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => out.push(byte),
            }
        }
    }
}

impl Filter for Indenter {
    fn part(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() * 2);
        self.write(bytes, &mut out);
        out
    }

    fn end(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn people_and_those_who_ask_get_lines() {
        let mut headers = HeaderMap::new();
        assert!(!wanted(None, &headers));
        assert!(wanted(Some("limit=1&pretty=true"), &headers));
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
        assert!(wanted(Some("pretty="), &headers));
        assert!(!wanted(Some("pretty=0"), &headers));
    }

    #[test]
    fn lines_are_those_of_any_other_printer() {
        let value = berth_json::json!({"a": [], "b": {}, "c": [1, {"d": "x\\\"{,:"}, [null]], "e": "\\"});
        let lines = String::from_utf8(Indenter::default().part(value.to_string().as_bytes())).unwrap();
        assert_eq!(lines, serde_json::to_string_pretty(&value).unwrap());
        let mut indenter = Indenter::default();
        let bytes = value.to_string().into_bytes();
        let in_parts: Vec<u8> = bytes.chunks(3).flat_map(|part| indenter.part(part)).collect();
        assert_eq!(String::from_utf8(in_parts).unwrap(), lines);
    }
}
