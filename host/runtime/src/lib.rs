//! Own OCI runtime: shim, sandbox, create, start, exec, cgroups v1 and v2.
