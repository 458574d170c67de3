//! The Kubernetes API as data: schema table, catalogue, decoding, defaults, validation, patches, selectors, tables.
