//! Built-in policy: fullest node that fits first.
