//! The one way every write takes: authorise, default, admit, validate, commit.
