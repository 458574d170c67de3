//! The node agent: converges the node's containers to its pods.
