//! One layer's blob from a registry to the disk: checked, at no less than the lowest rate, with room for it.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::answer::failed;
use crate::digest::Digesting;
use crate::manifest::Descriptor;
use crate::meter::Space;
use crate::registry::Endpoint;
use crate::remote::{Remote, RemoteError};
use crate::{ImageError, Progress, PullLimits};

const WRITE_BYTES: usize = 256 << 10;
/// How many bytes of a layer arrive between two reports.
const PROGRESS_BYTES: u64 = 1 << 20;
/// How many other places of a layer are tried; manifests name one.
const FOREIGN_MAX: usize = 3;

/// Downloads a layer's blob into `path`, checking size and digest. `what` names the layer.
pub(crate) async fn download(
    remote: &Remote,
    layer: &Descriptor,
    what: &str,
    path: &Path,
    limits: PullLimits,
    progress: impl Fn(Progress),
) -> Result<(), Failure> {
    let io = |action| move |error| Failure::Image(ImageError::io(action, path)(error));
    let broken = |error| Failure::of(error, &format!("{what} ({})", layer.digest));
    let no_room =
        |exceeded: crate::meter::Exceeded| exceeded.into_error(format!("{what} ({})", layer.digest));
    let mut space = Space::new(path.parent().unwrap_or(path));
    space.check_room(layer.size).map_err(no_room)?;
    let mut response = response(remote, layer).await.map_err(broken)?;
    let file = tokio::fs::File::create(path).await.map_err(io("create"))?;
    let mut file = tokio::io::BufWriter::with_capacity(WRITE_BYTES, file);
    let mut hasher = Digesting::new(std::io::sink());
    let mut rate = Rate::new(limits);
    let (mut done_bytes, mut told_bytes) = (0, 0);
    loop {
        let waiting = Instant::now();
        let Some(chunk) = response.chunk().await.map_err(failed).map_err(broken)? else { break };
        rate.arrived(chunk.len() as u64, waiting.elapsed())
            .map_err(|why| broken(RemoteError::Failed(why)))?;
        done_bytes += chunk.len() as u64;
        if done_bytes > layer.size {
            let what = format!("what the registry sends for {what} ({})", layer.digest);
            let limit = format!("{} bytes, which the manifest states", layer.size);
            return Err(ImageError::TooLarge { what, limit }.into());
        }
        space.bytes(chunk.len() as u64).map_err(no_room)?;
        hasher.write_all(&chunk).map_err(io("digest"))?;
        file.write_all(&chunk).await.map_err(io("write"))?;
        if done_bytes - told_bytes >= PROGRESS_BYTES || done_bytes == layer.size {
            told_bytes = done_bytes;
            progress(Progress::Downloading { layer: layer.digest, done_bytes, total_bytes: layer.size });
        }
    }
    file.flush().await.map_err(io("write"))?;
    if done_bytes < layer.size {
        let detail =
            format!("it ends after {done_bytes} of the {} bytes that the manifest states", layer.size);
        return Err(ImageError::BrokenLayer { layer: format!("{what} ({})", layer.digest), detail }.into());
    }
    let (_, actual, _) = hasher.finish();
    if actual != layer.digest {
        return Err(ImageError::WrongDigest { what: what.to_owned(), expected: layer.digest, actual }.into());
    }
    Ok(())
}

/// The registry's blob; of a layer that it does not keep, from where the manifest says.
async fn response(remote: &Remote, layer: &Descriptor) -> Result<reqwest::Response, RemoteError> {
    let mut failure = match remote.blob_response(&layer.digest.to_string()).await {
        Err(error @ RemoteError::NotFound(_)) => error,
        result => return result,
    };
    for url in layer.urls.iter().take(FOREIGN_MAX) {
        match remote.foreign_response(url).await {
            Ok(response) => return Ok(response),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// How fast bytes arrive. Only the time spent waiting for them counts: a slow disk is not the registry's fault.
struct Rate {
    limits: PullLimits,
    bytes: u64,
    waited: Duration,
}

impl Rate {
    fn new(limits: PullLimits) -> Rate {
        Rate { limits, bytes: 0, waited: Duration::ZERO }
    }

    fn arrived(&mut self, bytes: u64, waited: Duration) -> Result<(), String> {
        self.bytes += bytes;
        self.waited += waited;
        let PullLimits { rate_min, rate_period, .. } = self.limits;
        if self.waited < rate_period {
            return Ok(());
        }
        let rate = self.bytes as f64 / self.waited.as_secs_f64();
        if rate < rate_min as f64 {
            return Err(format!(
                "it arrives at {rate:.0} bytes per second, which is less than the lowest rate of {rate_min}"
            ));
        }
        *self = Rate::new(self.limits);
        Ok(())
    }
}

/// Why a pull from one endpoint with one set of credentials failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The image's name leads nowhere.
    NotFound,
    Unauthorized(String),
    /// No answer, or not a usable one.
    Failed(String),
    Image(ImageError),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Failure {
        match error {
            RemoteError::NotFound(_) => Failure::NotFound,
            RemoteError::Unauthorized(said) => Failure::Unauthorized(said),
            RemoteError::Failed(why) => Failure::Failed(why),
            RemoteError::TooLarge(limit) => too_large("the image's manifest", limit),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        Failure::Image(error)
    }
}

fn too_large(what: &str, limit: u64) -> Failure {
    ImageError::TooLarge {
        what: format!("what the registry sends for {what}"),
        limit: format!("{limit} bytes"),
    }
    .into()
}

impl Failure {
    /// A request failed for a part of an image whose manifest was found.
    pub(crate) fn of(error: RemoteError, what: &str) -> Failure {
        match error {
            RemoteError::NotFound(url) => ImageError::MissingContent { what: what.to_owned(), url }.into(),
            RemoteError::Unauthorized(said) => Failure::Unauthorized(format!("{what}: {said}")),
            RemoteError::Failed(why) => Failure::Failed(format!("{what}: {why}")),
            RemoteError::TooLarge(limit) => too_large(what, limit),
        }
    }

    pub(crate) fn into_error(self, reference: String, endpoint: &Endpoint) -> ImageError {
        match self {
            Failure::NotFound => ImageError::NotFound { reference },
            Failure::Unauthorized(detail) => ImageError::Unauthorized { reference, detail },
            Failure::Failed(detail) => {
                ImageError::Unreachable { reference, endpoint: endpoint.to_string(), detail }
            }
            Failure::Image(error) => ImageError::Pull { reference, source: Box::new(error) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_the_time_spent_waiting_alone() {
        let limits = PullLimits { rate_min: 100, rate_period: Duration::from_secs(10), ..Default::default() };
        let mut rate = Rate::new(limits);
        for _ in 0..9 {
            rate.arrived(1, Duration::from_secs(1)).unwrap();
        }
        rate.arrived(1000, Duration::from_secs(1)).unwrap();
        for _ in 0..9 {
            rate.arrived(1, Duration::from_secs(1)).unwrap();
        }
        let why = rate.arrived(1, Duration::from_secs(1)).unwrap_err();
        assert_eq!(why, "it arrives at 1 bytes per second, which is less than the lowest rate of 100");
    }
}
