//! Service account tokens in projected volumes: asked for when a pod starts, renewed before they expire.

use std::collections::BTreeMap;

use berth_api::time::Timestamp;
use berth_client::ApiResource;
use serde_json::json;

use super::Round;
use super::payload::{File, Files, MODE_DEFAULT, check_path};
use crate::pod::Volume;

/// A token's lifetime when the pod names none: Kubernetes' default, in seconds.
const SECONDS_DEFAULT: u64 = 3607;
/// How much of its lifetime a token serves before it is renewed, in percent: the kubelet's number.
const SERVED_PERCENT: i64 = 80;
/// A token is renewed after a day however long it lives, in milliseconds: again the kubelet's.
const SERVED_MS_MAX: i64 = 24 * 3_600_000;

/// The tokens a pod has, by audience and lifetime.
#[derive(Default)]
pub(crate) struct Tokens {
    held: BTreeMap<(String, u64), Token>,
}

struct Token {
    text: String,
    renew_at: Timestamp,
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
        let token = request(round, audience, seconds).await?;
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
    let lifetime_ms = expires.map_or(0, |expires| expires.millis_since(round.now));
    let served_ms = (lifetime_ms / 100 * SERVED_PERCENT).min(SERVED_MS_MAX);
    Ok(Token { text, renew_at: round.now.plus_millis(served_ms) })
}
