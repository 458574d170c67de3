//! OpenAPI v3 documents, made from the catalogue and the schema table.

use serde_json::Value;

use crate::resource::Catalogue;
use crate::schema::Schema;

/// `GET /openapi/v3`: the index of documents, each with the hash of its content.
pub fn index(catalogue: &Catalogue, schema: &Schema) -> Value {
    unimplemented!()
}

/// `GET /openapi/v3/api/v1` and `GET /openapi/v3/apis/<group>/<version>`; `None` when nothing is served there.
pub fn document(catalogue: &Catalogue, schema: &Schema, group: &str, version: &str) -> Option<Value> {
    unimplemented!()
}
