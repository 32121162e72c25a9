//! Calls between the roles of a cluster: gRPC with mutual TLS, behind the ports of `skein-core`.
