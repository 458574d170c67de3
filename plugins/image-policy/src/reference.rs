//! Names of images, as the distribution project's `reference` grammar has them.

/// An image's name in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// `docker.io` where the name says none.
    registry: &'a str,
    /// Without the registry; `library/` stands before the names of Docker's own.
    path: String,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(crate) fn parse(image: &'a str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before a slash is a port's.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        Self { registry, path, tag, digest }
    }

    /// Whether the image is of a registry, or of a part of it: `ghcr.io/team` has `ghcr.io/team/app`, not `ghcr.io/teams`.
    pub(crate) fn is_in(&self, place: &str) -> bool {
        let place = place.trim_end_matches('/');
        let (registry, part) = match place.split_once('/') {
            Some((first, part)) if is_registry(first) => (first, part),
            None if is_registry(place) => (place, ""),
            _ => ("docker.io", place),
        };
        let below = self.path.strip_prefix(part);
        registry == self.registry
            && (part.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// A first part is a registry when it looks like a host.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        for (image, place, is_in) in [
            ("nginx", "docker.io", true),
            ("nginx", "docker.io/library", true),
            ("nginx", "library", true),
            ("nginx", "ghcr.io", false),
            ("index.docker.io/team/app:1", "docker.io/team", true),
            ("ghcr.io/team/app:1", "ghcr.io", true),
            ("ghcr.io/team/app:1", "ghcr.io/team", true),
            ("ghcr.io/team/app:1", "ghcr.io/team/", true),
            ("ghcr.io/teams/app:1", "ghcr.io/team", false),
            ("ghcr.io.evil.example/team/app:1", "ghcr.io", false),
            ("localhost:5000/app", "localhost:5000", true),
            ("localhost:5000/app", "localhost", false),
        ] {
            assert_eq!(Reference::parse(image).is_in(place), is_in, "{image} in {place}");
        }
    }

    #[test]
    fn tags_and_digests() {
        for (image, tag, digest) in [
            ("nginx", None, None),
            ("nginx:1.27", Some("1.27"), None),
            ("localhost:5000/app", None, None),
            ("localhost:5000/app:2", Some("2"), None),
            ("app@sha256:ab", None, Some("sha256:ab")),
            ("app:2@sha256:ab", Some("2"), Some("sha256:ab")),
        ] {
            let reference = Reference::parse(image);
            assert_eq!((reference.tag, reference.digest), (tag, digest), "{image}");
        }
    }
}
