//! Service account tokens in projected volumes: asked for when a pod starts, renewed before they expire.

use std::collections::BTreeMap;

use berth_api::time::Timestamp;
use berth_client::ApiResource;
use serde_json::json;

use super::Round;
use super::payload::{File, Files, MODE_DEFAULT, check_path};
use crate::manifest::Volume;

/// A token's lifetime when the pod names none: Kubernetes' default, in seconds.
const SECONDS_DEFAULT: u64 = 3607;
/// How much of its lifetime a token serves before it is renewed, in percent: the kubelet's number.
const SERVED_PERCENT: i64 = 80;
/// A token is renewed after a day however long it lives, in milliseconds: again the kubelet's.
const SERVED_MS_MAX: i64 = 24 * 3_600_000;

/// How soon a token that could not be renewed, but still serves, is asked for again, in milliseconds.
const RETRY_MS: i64 = 10_000;

/// The tokens a pod has, by audience and lifetime.
#[derive(Default)]
pub(crate) struct Tokens {
    held: BTreeMap<(String, u64), Token>,
}

struct Token {
    text: String,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

impl Tokens {
    /// When the first of them has to be renewed.
    pub(super) fn refresh_at(&self) -> Option<Timestamp> {
        self.held.values().map(|token| token.renew_at).min()
    }

    /// Adds the token files of a projected volume, asking for tokens that are missing or due.
    pub(super) async fn add(
        &mut self,
        round: &Round<'_>,
        volume: &Volume,
        files: &mut Files,
    ) -> Result<(), String> {
        let Some(projected) = &volume.projected else { return Ok(()) };
        for projection in projected.sources.iter().filter_map(|source| source.service_account_token.as_ref())
        {
            check_path(&projection.path)?;
            let seconds = projection.expiration_seconds.unwrap_or(SECONDS_DEFAULT);
            let text = self.get(round, &projection.audience, seconds).await?;
            // Who runs as another user could not read a root's file: then the kubelet, too, opens it for all.
            let security = &round.pod.spec.security_context;
            let all_root = security.run_as_user.is_none_or(|uid| uid == 0)
                && round.pod.containers().all(|c| c.security_context.run_as_user.is_none_or(|uid| uid == 0));
            let mode = match (projected.default_mode.unwrap_or(MODE_DEFAULT), security.fs_group, all_root) {
                (mode, Some(_), _) => mode & !0o077 | 0o040,
                (mode, None, true) => mode,
                (mode, None, false) => mode | 0o444,
            };
            files.insert(projection.path.clone(), File { bytes: text.into_bytes(), mode });
        }
        Ok(())
    }

    async fn get(&mut self, round: &Round<'_>, audience: &str, seconds: u64) -> Result<String, String> {
        let key = (audience.to_owned(), seconds);
        if let Some(token) = self.held.get(&key).filter(|token| token.renew_at > round.now) {
            return Ok(token.text.clone());
        }
        let token = match (request(round, audience, seconds).await, self.held.get_mut(&key)) {
            (Ok(token), _) => token,
            // The pod goes on with the one it has.
            (Err(error), Some(held)) if held.expires_at > round.now => {
                tracing::warn!(pod = round.pod.display(), error, "a token could not be renewed yet");
                held.renew_at = round.now.plus_millis(RETRY_MS);
                return Ok(held.text.clone());
            }
            (Err(error), _) => return Err(error),
        };
        let text = token.text.clone();
        self.held.insert(key, token);
        Ok(text)
    }
}

async fn request(round: &Round<'_>, audience: &str, seconds: u64) -> Result<Token, String> {
    let metadata = &round.pod.metadata;
    let audiences: Vec<&str> = Some(audience).filter(|audience| !audience.is_empty()).into_iter().collect();
    let bound = json!({ "kind": "Pod", "apiVersion": "v1", "name": metadata.name, "uid": metadata.uid });
    let request = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "spec": { "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound },
    });
    let account = &round.pod.spec.service_account_name;
    let resource = ApiResource::SERVICE_ACCOUNTS;
    let answer = round.client.create_sub(resource, &metadata.namespace, account, "token", &request).await;
    let answer = answer.map_err(|error| format!("failed to fetch token: {error}"))?;
    let text = answer["status"]["token"].as_str().unwrap_or_default().to_owned();
    let expires = answer["status"]["expirationTimestamp"].as_str().and_then(Timestamp::parse);
    let expires_at = expires.unwrap_or(round.now);
    let served_ms = (expires_at.millis_since(round.now) / 100 * SERVED_PERCENT).min(SERVED_MS_MAX);
    Ok(Token { text, renew_at: round.now.plus_millis(served_ms), expires_at })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::{Arc, Mutex};

    use berth_client::{Body, BoxError, Client, ClientError, Transport};
    use bytes::Bytes;
    use futures_util::future::BoxFuture;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use serde_json::Value;

    use super::*;
    use crate::container::fields::{Allocatable, Surroundings};
    use crate::container::sources::{PodSources, Sources};
    use crate::container::volumes::Volumes;
    use crate::manifest::Pod;

    const T0: Timestamp = Timestamp::from_seconds(1_000_000);

    /// Gives out numbered tokens that live for ten minutes, or refuses.
    #[derive(Default)]
    struct Issuer {
        seconds: AtomicI64,
        asked: Mutex<Vec<String>>,
    }

    struct Wire(Arc<Issuer>);

    impl Transport for Wire {
        fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>, ClientError>> {
            let mut asked = self.0.asked.lock().unwrap();
            asked.push(format!("{} {}", request.method(), request.uri().path()));
            let seconds = self.0.seconds.load(Ordering::Relaxed);
            let expires = T0.plus_millis(seconds * 1000).rfc3339();
            let (code, answer) = match seconds {
                0 => (500, json!({ "kind": "Status", "code": 500, "message": "no tokens today" })),
                _ => (
                    201,
                    json!({ "status": { "token": asked.len().to_string(), "expirationTimestamp": expires } }),
                ),
            };
            let body =
                Full::new(Bytes::from(answer.to_string())).map_err(|never| -> BoxError { match never {} });
            let response = Response::builder().status(code).body(body.boxed_unsync()).unwrap();
            Box::pin(async { Ok(response) })
        }
    }

    #[tokio::test]
    async fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let issuer = Arc::new(Issuer::default());
        let client = Client::new(Arc::new(Wire(Arc::clone(&issuer))), "test/1");
        let sources = Sources::new(client.clone());
        let directory = tempfile::tempdir().unwrap();
        let token = json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 600 } });
        let pod: Value = json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u" },
            "spec": { "serviceAccountName": "a", "volumes": [{ "name": "v", "projected": { "sources": [token] } }] },
        });
        let pod = Arc::new(Pod::from_value(pod).unwrap());
        let volumes = Volumes {
            directory: directory.path().join("disk"),
            memory_directory: directory.path().join("memory"),
            sources: Arc::new(PodSources::new("n")),
            tokens: tokio::sync::Mutex::default(),
        };
        let allocatable = Allocatable { cpu_millis: 0, memory_bytes: 0, storage_bytes: 0 };
        let around = Surroundings { host_ip: [127, 0, 0, 1].into(), pod_ip: None, allocatable };
        // When the round is, until when new tokens live (0: there are none), the token, when it is due.
        for (now, lives_until, expected, due) in [
            (0, 600, "1", 480),
            (479, 1079, "1", 480),
            (480, 0, "1", 490),
            (500, 0, "1", 510),
            (510, 1110, "4", 990),
        ] {
            issuer.seconds.store(lives_until, Ordering::Relaxed);
            let now = T0.plus_millis(now * 1000);
            let round = Round { pod: &pod, client: &client, sources: &sources, around, now };
            let made = volumes.make(&round).await.unwrap();
            assert_eq!(made.refresh_at, Some(T0.plus_millis(due * 1000)), "{now:?}");
            let text = std::fs::read_to_string(made.directories["v"].join("token")).unwrap();
            assert_eq!(text, expected, "{now:?}");
        }
        issuer.seconds.store(0, Ordering::Relaxed);
        let round =
            Round { pod: &pod, client: &client, sources: &sources, around, now: T0.plus_millis(1_110_000) };
        let error = volumes.make(&round).await.err().unwrap();
        assert!(error.contains("failed to fetch token: ") && error.contains("no tokens today"), "{error}");
        let asked = issuer.asked.lock().unwrap();
        assert_eq!(asked[0], "POST /api/v1/namespaces/n/serviceaccounts/a/token");
    }
}
