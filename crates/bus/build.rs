//! Compiles the form that hints take between nodes, without needing `protoc`.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    for file in ["skein/cluster/v1/hint.proto", "skein/v1/entry.proto", "skein/v1/session.proto"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile([root.join("skein/cluster/v1/hint.proto")], [&root])?;
    prost_build::Config::new()
        .bytes(["."])
        // The entries are the messages of the wire, generated there.
        .extern_path(".skein.v1", "::skein_wire::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
