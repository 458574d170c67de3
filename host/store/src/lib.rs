//! The durable store: SQLite behind the Store trait.
