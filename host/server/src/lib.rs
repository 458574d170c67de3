//! The Kubernetes API over HTTP: REST, watch, discovery, streams, authentication.
