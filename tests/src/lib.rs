//! End-to-end tests: they start the real binaries on free ports and talk to them as users do. The
//! tests are in `tests/`, one file a subject; what they start services with is the crate `testkit`.
