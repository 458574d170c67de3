//! Images: content store, import, pull, layers.
