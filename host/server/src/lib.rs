//! The Kubernetes API over HTTP: REST, watch, discovery, streams, authentication.
//!
//! One generic machine serves every kind of the catalogue: reads come out of the cluster's state as bytes, writes go
//! through the pipeline. Nothing here decides what an object may be.

mod authentication;
mod body;
mod component;
mod derived;
mod discovery;
mod dispatch;
mod documents;
mod fairness;
#[cfg(test)]
mod fuzz;
mod health;
mod heavy;
mod held;
mod hooks;
mod impersonation;
mod issuer;
mod jwt;
mod list;
mod listen;
mod logs;
mod metrics;
mod negotiate;
mod parts;
mod path;
mod peer;
pub mod pki;
mod pods;
mod pretty;
mod process;
mod query;
mod read;
mod render;
mod respond;
mod rest;
mod server;
mod session;
mod watch;
mod websocket;
mod write;

pub use hooks::{ComponentCheck, Derived, Hooks, UncheckedComponents};
pub use jwt::{ISSUER, TokenKey, TokenKeyError};
pub use listen::Tls;
pub use pki::{Names, Pki, PkiError};
pub use process::InProcess;
pub use server::Server;
