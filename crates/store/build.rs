//! Rebuilds when a migration is added: the macro that embeds them only notices changes to files
//! that it has seen.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/sqlite");
    println!("cargo::rerun-if-changed=build.rs");
}
