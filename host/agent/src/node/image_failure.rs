//! Why a container has no image.

/// Why there is none, as the container's status tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFailure {
    /// The status' reason.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}
