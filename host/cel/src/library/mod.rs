//! The libraries of functions, as kube-apiserver v1.37 puts them together: CEL's standard library, cel-go's strings (2),
//! sets, lists (3), optionals and two-variable comprehensions, and Kubernetes' own.

pub(crate) mod convert;
pub(crate) mod format;
pub(crate) mod lists;
pub(crate) mod net;
pub(crate) mod operators;
pub(crate) mod optional;
pub(crate) mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod sets;
pub(crate) mod strings;
pub(crate) mod template;
pub(crate) mod time;
pub(crate) mod url;

use crate::functions::Declaration;

/// All overloads by their library.
pub(crate) const DECLARATIONS: [&[Declaration]; 18] = [
    operators::DECLARATIONS,
    convert::DECLARATIONS,
    convert::MEMBERS,
    strings::DECLARATIONS,
    time::DECLARATIONS,
    time::DURATIONS,
    lists::DECLARATIONS,
    lists::ORDERED,
    lists::KEYED,
    sets::DECLARATIONS,
    optional::DECLARATIONS,
    regex::DECLARATIONS,
    url::DECLARATIONS,
    net::DECLARATIONS,
    net::KINDS,
    quantity::DECLARATIONS,
    semver::DECLARATIONS,
    format::DECLARATIONS,
];
