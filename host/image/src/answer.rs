//! What a registry answers: bodies of bounded size, refusals in its words, challenges.

use reqwest::Response;
use reqwest::header::WWW_AUTHENTICATE;
use serde::Deserialize;

use crate::error::plain;
use crate::remote::RemoteError;

/// How much of a refusal is read, in bytes.
const REFUSAL_BYTES_MAX: u64 = 16 << 10;
/// How many of a refusal's errors are shown.
const ERRORS_MAX: usize = 3;

/// A body as a whole, if it is no larger than `max` bytes.
pub(crate) async fn read(mut response: Response, max: u64) -> Result<Vec<u8>, RemoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() as u64 + chunk.len() as u64 > max {
            return Err(RemoteError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a refusal says: the status, and the registry's own words, fit for a message.
pub(crate) async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let body = read(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let said: Vec<String> = match serde_json::from_slice::<Envelope>(&body) {
        Ok(envelope) => {
            let errors = envelope.errors.iter().take(ERRORS_MAX);
            errors.map(|e| plain(&format!("{}: {}", e.code, e.message))).collect()
        }
        Err(_) => Vec::new(), // Not the specification's form, perhaps a proxy's page: the status says it.
    };
    if said.is_empty() {
        format!("unexpected status {status}")
    } else {
        format!("{status}: {}", said.join("; "))
    }
}

/// reqwest's message names the request only; the cause ("connection refused") is further down. The URL is left out: it
/// may hold a signature.
pub(crate) fn failed(error: reqwest::Error) -> RemoteError {
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.dedup();
    RemoteError::Failed(plain(&causes.join(": ")))
}

/// What a 401 asks for.
pub(crate) struct Challenge {
    pub(crate) bearer: Option<Vec<(String, String)>>,
    pub(crate) is_basic: bool,
}

impl Challenge {
    pub(crate) fn of(response: &Response) -> Challenge {
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<(&str, &str)> = values
            .filter_map(|value| value.to_str().ok())
            .map(|challenge| challenge.split_once(' ').unwrap_or((challenge, "")))
            .collect();
        let find = |name: &str| challenges.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(name));
        Challenge {
            bearer: find("Bearer").map(|(_, parameters)| parse_parameters(parameters)),
            is_basic: find("Basic").is_some(),
        }
    }
}

/// The `key="value"` list of a challenge (RFC 9110, section 11.2).
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        rest = left.trim_start_matches([' ', ',']);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let read = parse_parameters(r#"realm="https://a/token",service="reg, istry", scope=x,error="e""#);
        let expected =
            [("realm", "https://a/token"), ("service", "reg, istry"), ("scope", "x"), ("error", "e")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(parse_parameters("").is_empty() && parse_parameters("nonsense").is_empty());
    }
}
