//! Inside one process.
