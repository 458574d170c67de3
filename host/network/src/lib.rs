//! Pod networking: bridge, veth, network namespaces, addresses, masquerade.
