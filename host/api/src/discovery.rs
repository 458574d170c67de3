//! Discovery documents, made from the catalogue.

use serde_json::Value;

use crate::resource::Catalogue;

/// `GET /api`: `APIVersions` of the core group. `address` is what clients reach the server at (`host:port`).
pub fn core_versions(address: &str) -> Value {
    unimplemented!()
}

/// `GET /apis`: `APIGroupList`.
pub fn groups(catalogue: &Catalogue) -> Value {
    unimplemented!()
}

/// `GET /apis/<group>`: `APIGroup`; `None` when there is no such group.
pub fn group(catalogue: &Catalogue, group: &str) -> Option<Value> {
    unimplemented!()
}

/// `GET /api/v1` and `GET /apis/<group>/<version>`: `APIResourceList`; `None` when nothing is served there.
pub fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Option<Value> {
    unimplemented!()
}

/// `GET /api` aggregated: `APIGroupDiscoveryList` of the core group. `version` is `v2` or `v2beta1`.
pub fn aggregated_core(catalogue: &Catalogue, version: &str) -> Value {
    unimplemented!()
}

/// `GET /apis` aggregated: `APIGroupDiscoveryList` of all other groups. `version` is `v2` or `v2beta1`.
pub fn aggregated_groups(catalogue: &Catalogue, version: &str) -> Value {
    unimplemented!()
}
