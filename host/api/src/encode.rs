//! From an object to the bytes of an answer in protobuf or YAML.

mod protobuf;
mod yaml;

pub use protobuf::protobuf;
pub use yaml::yaml;
