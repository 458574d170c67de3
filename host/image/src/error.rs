//! Everything that can go wrong with an image, in words a user of kubectl or docker knows.

use std::io;
use std::path::PathBuf;

use crate::Digest;

/// How much of a foreign text is shown, in characters.
const TEXT_CHARS_MAX: usize = 256;
/// What an archive of images is called in messages.
pub(crate) const ARCHIVE: &str = "image archive";

/// A text from outside (a registry's answer, an archive's name), fit for a message: one line without characters that
/// control a terminal or turn the direction of writing, and not too long.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = |c: &char| {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        !c.is_control() && !turns
    };
    let text: String =
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(is_plain).collect();
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// An image operation that failed. Each message is one sentence that names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A name that is no image reference.
    #[error("couldn't parse image reference {reference:?}: {reason}")]
    InvalidReference {
        /// What was given.
        reference: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// A digest that is not `sha256:<64 hex digits>`.
    #[error("invalid digest {text:?}: expected \"sha256:\" and 64 lower-case hex digits")]
    InvalidDigest {
        /// What was given.
        text: String,
    },
    /// The registry answered that it has no such image, tag or repository.
    #[error(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: not found"
    )]
    NotFound {
        /// The full reference.
        reference: String,
    },
    /// The registry has the image's manifest, and lacks what it names.
    #[error(
        "{what}: content at {url} not found: the registry has the image's manifest but has lost this; push the image again"
    )]
    MissingContent {
        /// Which part of the image.
        what: String,
        /// Where it should be.
        url: String,
    },
    /// The registry refused the credentials, or wants some.
    #[error(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": \
         pull access denied, repository does not exist or may require authorization: {detail}"
    )]
    Unauthorized {
        /// The full reference.
        reference: String,
        /// What the registry said.
        detail: String,
    },
    /// No endpoint of the registry could be reached, or it kept failing.
    #[error("failed to pull and unpack image \"{reference}\": failed to do request to {endpoint}: {detail}")]
    Unreachable {
        /// The full reference.
        reference: String,
        /// The endpoint tried last.
        endpoint: String,
        /// The last failure.
        detail: String,
    },
    /// The registry answered, but not with a usable image.
    #[error("failed to pull and unpack image \"{reference}\": {source}")]
    Pull {
        /// The full reference.
        reference: String,
        /// What is wrong with the content.
        source: Box<ImageError>,
    },
    /// The registry configuration file cannot be used.
    #[error("registry configuration {path}: {detail}")]
    RegistryConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        detail: String,
    },
    /// The archive ends early or is no tar archive at all.
    #[error("image archive is truncated or no tar archive: {detail}")]
    BrokenArchive {
        /// What the reader met.
        detail: String,
    },
    /// A layer that ends early, is damaged, or is no tar archive at all.
    #[error("{layer} is truncated, damaged or no tar archive: {detail}; build or push the image again")]
    BrokenLayer {
        /// The layer.
        layer: String,
        /// What the reader met.
        detail: String,
    },
    /// The archive has neither a `manifest.json` nor an `index.json`.
    #[error("image archive holds no manifest.json (docker save) and no index.json (OCI layout)")]
    NoManifest,
    /// The archive's manifest names a file that the archive does not hold.
    #[error("image archive lacks {name:?}, which its manifest names")]
    MissingFile {
        /// The name in the archive.
        name: String,
    },
    /// A manifest, index or config that is not the JSON it should be.
    #[error("invalid {what}: {detail}")]
    InvalidDocument {
        /// Which document.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A media type that is neither an image nor an index, or a layer compression that is not known.
    #[error("unsupported media type {media_type:?} of {what}")]
    UnsupportedMediaType {
        /// What has that type.
        what: String,
        /// The type.
        media_type: String,
    },
    /// A multi-platform index without an image for this host.
    #[error("no match for platform {wanted} in manifest; it offers {offered}")]
    NoPlatform {
        /// The host's platform, for example `linux/amd64`.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// Content that does not have the digest it should.
    #[error("{what} is damaged: its digest is {actual}, expected {expected}")]
    WrongDigest {
        /// Which content.
        what: String,
        /// What its digest should be.
        expected: Digest,
        /// What its digest is.
        actual: Digest,
    },
    /// A layer's tar entry that leads outside the layer, or cannot be extracted safely.
    #[error("{layer} refused: entry {entry:?}: {reason}")]
    UnsafeEntry {
        /// The layer.
        layer: String,
        /// The entry's path as the archive has it.
        entry: String,
        /// Why it is refused.
        reason: String,
    },
    /// One of the named limits was passed.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// Which object.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The data directory's file system has too little room.
    #[error("no room for {what}: {detail}")]
    NoSpace {
        /// What should have been written.
        what: String,
        /// How much there is, and what to do.
        detail: String,
    },
    /// Nobody waits for the image any more.
    #[error("the image is wanted no more")]
    Cancelled,
    /// A file-system operation failed.
    #[error("image store: cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A background task of a pull ended abnormally: a bug.
    #[error("image pull task failed: {detail}")]
    Task {
        /// What the runtime says.
        detail: String,
    },
}

impl ImageError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ImageError {
        move |source| ImageError::Io { action, path: path.into(), source }
    }

    /// A broken stream, with the reader's complaint: it may quote the archive's bytes.
    pub(crate) fn broken(what: &str, error: &io::Error) -> ImageError {
        let detail = plain(&error.to_string());
        match what {
            ARCHIVE => ImageError::BrokenArchive { detail },
            layer => ImageError::BrokenLayer { layer: layer.to_owned(), detail },
        }
    }

    /// Whether asking again later can help (the kubelet's `ImagePullBackOff` retries either way, but may say so).
    pub fn is_transient(&self) -> bool {
        matches!(self, ImageError::Unreachable { .. } | ImageError::Io { .. } | ImageError::Task { .. })
    }
}
