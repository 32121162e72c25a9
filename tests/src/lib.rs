//! End-to-end tests: they start the real binaries on free ports and talk to them as users do. The
//! tests are in `tests/`, one file a subject; what they start services with is the crate `testkit`.
//!
//! The library holds what the fuzz targets in `fuzz/` share with the tests: [`decode`] says what
//! must hold for any bytes from outside, [`seeds`] where a search for exceptions starts.

#![allow(clippy::missing_panics_doc)]

pub mod decode;
mod qmux;
pub mod seeds;
