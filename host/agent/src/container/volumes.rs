//! A pod's volumes: directories under the pod's own, filled and kept up to date.

mod atomic;
mod empty_dir;
mod host_path;
mod payload;
mod tokens;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use berth_api::time::Timestamp;
use berth_client::Client;
use tokio::sync::Mutex;

use crate::container::fields::Surroundings;
use crate::container::resources;
use crate::container::sources::{Objects, PodSources, SourceName, Sources};
use crate::manifest::{Pod, Volume};
pub(crate) use empty_dir::{is_mount_point, unmount};
pub(crate) use tokens::Tokens;

/// The directories behind a pod's volumes, by volume name.
pub(crate) type Directories = BTreeMap<String, PathBuf>;

/// Makes and refreshes the volumes of one pod.
pub(crate) struct Volumes {
    /// Where the pod's directories are.
    pub(crate) directory: PathBuf,
    /// The same for what must not reach a disk; on a file system in memory.
    pub(crate) memory_directory: PathBuf,
    pub(crate) sources: Arc<PodSources>,
    pub(crate) tokens: Mutex<Tokens>,
}

/// What a round over the volumes needs besides the pod.
pub(crate) struct Round<'a> {
    pub(crate) pod: &'a Arc<Pod>,
    pub(crate) client: &'a Client,
    pub(crate) sources: &'a Sources,
    pub(crate) around: Surroundings,
    pub(crate) now: Timestamp,
}

/// Made or refreshed volumes.
pub(crate) struct Made {
    pub(crate) directories: Directories,
    /// When the first token has to be renewed.
    pub(crate) refresh_at: Option<Timestamp>,
}

impl Volumes {
    /// Makes the volumes, or brings those that are there up to date. Doing it twice is safe.
    ///
    /// # Errors
    /// In the words of the kubelet's `FailedMount` event.
    pub(crate) async fn make(&self, round: &Round<'_>) -> Result<Made, String> {
        let mut work = Vec::new();
        let objects = self.objects(round).await?;
        let mut tokens = self.tokens.lock().await;
        for volume in &round.pod.spec.volumes {
            let job = self.job(round, volume, &objects, &mut tokens).await;
            let job =
                job.map_err(|why| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name))?;
            work.push((volume.name.clone(), job));
        }
        let refresh_at = tokens.refresh_at();
        drop(tokens);
        let fs_group = round.pod.spec.security_context.fs_group;
        let done = tokio::task::spawn_blocking(move || {
            work.into_iter().map(|(name, job)| job.run(&name, fs_group)).collect()
        });
        let directories: Result<Directories, String> = done.await.map_err(|error| error.to_string())?;
        Ok(Made { directories: directories?, refresh_at })
    }

    async fn objects(&self, round: &Round<'_>) -> Result<Objects, String> {
        let names = round.pod.spec.volumes.iter().flat_map(payload::sources);
        self.sources.get(round.sources, names.collect::<Vec<SourceName>>()).await
    }

    async fn job(
        &self,
        round: &Round<'_>,
        volume: &Volume,
        objects: &Objects,
        tokens: &mut Tokens,
    ) -> Result<Job, String> {
        let on_disk = || self.directory.join("volumes").join(&volume.name);
        if let Some(empty) = &volume.empty_dir {
            let medium = empty_dir::Medium::of(empty, room(round))?;
            return Ok(Job::EmptyDir { directory: on_disk(), medium });
        }
        if let Some(host) = &volume.host_path {
            return Ok(Job::HostPath { path: host.path.clone().into(), kind: host.kind.clone() });
        }
        let files = match payload::files(round.pod, volume, objects, round.around)? {
            Some(files) => files,
            None => return Err(unknown(volume)),
        };
        let mut files = files;
        tokens.add(round, volume, &mut files).await?;
        let directory = self.memory_directory.join("volumes").join(&volume.name);
        Ok(Job::Files { directory, files })
    }
}

fn room(round: &Round<'_>) -> empty_dir::Room {
    let of_node = u64::try_from(round.around.allocatable.memory_bytes).unwrap_or(0);
    empty_dir::Room { of_pod: resources::of_pod(round.pod, None).memory_limit_bytes, of_node }
}

fn unknown(volume: &Volume) -> String {
    match volume.other.keys().next() {
        Some(kind) => format!("volumes of type {kind} are not supported on this node"),
        None => "the volume has no type".to_owned(),
    }
}

/// What remains to be done on the file system.
enum Job {
    EmptyDir { directory: PathBuf, medium: empty_dir::Medium },
    HostPath { path: PathBuf, kind: String },
    Files { directory: PathBuf, files: payload::Files },
}

impl Job {
    fn run(self, name: &str, fs_group: Option<u32>) -> Result<(String, PathBuf), String> {
        let failed = |why: String| format!("MountVolume.SetUp failed for volume {name:?} : {why}");
        let made = match self {
            Job::EmptyDir { directory, medium } => {
                empty_dir::make(&directory, &medium, fs_group).map(|()| directory)
            }
            Job::HostPath { path, kind } => host_path::check(&path, &kind).map(|()| path),
            Job::Files { directory, files } => atomic::write(&directory, &files, fs_group)
                .map_err(|error| format!("cannot write {}: {error}", directory.display()))
                .map(|()| directory),
        };
        made.map(|path| (name.to_owned(), path)).map_err(failed)
    }
}
