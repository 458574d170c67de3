//! The Common Expression Language as kube-apiserver evaluates it, for the rules of custom resources and for policies.
//!
//! The language is that of [cel-spec](https://github.com/google/cel-spec); the functions, the costs and the words of
//! errors are those of kube-apiserver v1.37, which are cel-go's and `k8s.io/apiserver/pkg/cel/library`'s. Sources and
//! values may come from anybody: what a source nests is limited when it is read, what an evaluation costs, works and
//! makes is metered while it runs, and an object is looked at where it lies, never copied.
//!
//! ```
//! use berth_cel::{Bindings, Budget, Environment, Program, Type};
//!
//! let environment = Environment::new().variable("self", Type::list(Type::Int));
//! let program = Program::compile(&environment, "self.all(x, x > 0)").unwrap();
//! let object = berth_json::json!([1, 2, 3]);
//! let value = program.evaluate(&Bindings::new().json("self", &object), &Budget::of_object());
//! assert_eq!(value.unwrap().as_bool(), Some(true));
//! ```

mod ast;
mod checker;
mod collection;
mod compare;
mod convert;
mod cost;
mod error;
mod estimate;
mod evaluate;
mod fold;
mod foreign;
mod functions;
mod lexer;
mod library;
mod literal;
mod logic;
mod macros;
mod meter;
mod names;
mod parser;
mod plan;
mod program;
mod regexes;
mod scope;
mod time;
mod types;
mod unify;
mod validate;
mod value;

pub use collection::{Key, List, Map};
pub use error::{CompileError, EvalError};
pub use foreign::{Foreign, Quantity, Version};
pub use library::format::Format;
pub use library::url::Url;
pub use meter::{Budget, CALL_COST_MAX, ESTIMATE_MAX, OBJECT_COST_MAX};
pub use names::escape;
pub use program::{Bindings, Environment, Program};
pub use time::Timestamp;
pub use types::{Field, ListKind, ListType, MapType, ObjectType, Opaque, Type};
pub use value::{Str, Value};
