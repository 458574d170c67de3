//! Built-in policy: least allocated first.
