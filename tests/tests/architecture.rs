//! The rules that keep the workspace in shape, held by the command that people run: who may depend
//! on whom, who may name quinn, how files begin and how long they get.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Lines of one file at most.
const LINES_MAX: usize = 400;

/// What each crate may depend on, of the workspace. Down from here: binaries and tests, then roles
/// and the client, then what they stand on, then the wire, then the domain.
const ALLOWED: &[(&str, &[&str])] = &[
    ("skein-core", &[]),
    ("skein-wire", &["skein-core"]),
    ("skein-store", &FOUNDATION),
    ("skein-bus", &FOUNDATION),
    ("skein-blob", &FOUNDATION),
    ("skein-net", &FOUNDATION),
    ("skein-ops", &FOUNDATION),
    ("skein-rpc", &["skein-core", "skein-wire", "skein-ops"]),
    ("skein-gate", &PARTS),
    ("skein-verify", &PARTS),
    ("skein-status", &PARTS),
    ("skein-chat", &PARTS),
    ("skein-resource", &PARTS),
    ("skein-client", &["skein-core", "skein-wire", "skein-net"]),
    ("skein", &["skein-client"]),
    ("skeind", &EVERYTHING_OF_THE_SERVER),
    ("skein-testkit", &["skein-core", "skein-wire", "skein-net"]),
    ("skein-bench", &["skein-core", "skein-wire", "skein-net", "skein-client", "skein-testkit"]),
    ("skein-tests", &["skein-core", "skein-wire", "skein-bus", "skein-blob", "skein-net"]),
];

const FOUNDATION: [&str; 2] = ["skein-core", "skein-wire"];

/// A role never depends on another role: they speak through the ports of `skein-core`.
const PARTS: [&str; 7] = [
    "skein-core",
    "skein-wire",
    "skein-store",
    "skein-bus",
    "skein-blob",
    "skein-net",
    "skein-ops",
];

const EVERYTHING_OF_THE_SERVER: [&str; 13] = [
    "skein-core",
    "skein-wire",
    "skein-store",
    "skein-bus",
    "skein-blob",
    "skein-net",
    "skein-ops",
    "skein-rpc",
    "skein-gate",
    "skein-verify",
    "skein-status",
    "skein-chat",
    "skein-resource",
];

/// Who may name quinn: the crate whose job it is, and the baselines of the benches.
const NAME_QUINN: &[&str] = &["skein-net", "skein-bench"];

/// Who may name tonic: the crate whose job the calls between roles are.
const NAME_TONIC: &[&str] = &["skein-rpc"];

/// What the domain must do without: it has no I/O, no clock and no chance.
const NOT_IN_CORE: &[&str] = &["tokio", "quinn", "rand", "getrandom", "prost", "rusqlite", "time"];

/// Names that say nothing, so that everything ends up in them.
const NO_NAMES: &[&str] = &["common", "utils", "util", "helpers", "types", "misc"];

/// How files with keys and certificates end.
const SECRET_EXTENSIONS: &[&str] = &["pem", "key", "crt", "der", "p12", "pfx", "env"];

#[test]
fn imports_point_downward_only() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let packages = packages();
    let ours: BTreeSet<_> = packages.iter().map(name).collect();
    for package in &packages {
        let may = allowed.get(name(package));
        let may = may.unwrap_or_else(|| panic!("say where {} stands", name(package)));
        for dependency in dependencies(package).filter(|dependency| ours.contains(dependency)) {
            assert!(may.contains(&dependency), "{} depends on {dependency}", name(package));
        }
    }
    assert_eq!(ours.len(), allowed.len(), "{ours:?}");
}

#[test]
fn only_net_names_quinn() {
    for package in &packages() {
        let all = package["dependencies"].as_array().expect("an array");
        let quinn = all.iter().any(|dependency| name(dependency).contains("quinn"));
        assert!(!quinn || NAME_QUINN.contains(&name(package)), "{} names quinn", name(package));
    }
}

#[test]
fn only_rpc_names_tonic() {
    for package in &packages() {
        let tonic = dependencies(package).any(|dependency| dependency.starts_with("tonic"));
        assert!(!tonic || NAME_TONIC.contains(&name(package)), "{} names tonic", name(package));
    }
}

#[test]
fn only_the_store_and_the_bus_name_their_servers() {
    for (client, owner) in
        [("tokio-postgres", "skein-store"), ("fred", "skein-bus"), ("lettre", "skein-verify")]
    {
        for package in &packages() {
            let names = dependencies(package).any(|dependency| dependency == client);
            assert!(!names || name(package) == owner, "{} names {client}", name(package));
        }
    }
}

#[test]
fn the_domain_has_no_io() {
    let packages = packages();
    let core = packages.iter().find(|package| name(package) == "skein-core").expect("it exists");
    for dependency in dependencies(core) {
        assert!(!NOT_IN_CORE.contains(&dependency), "skein-core depends on {dependency}");
    }
}

#[test]
fn every_crate_says_what_it_is() {
    for package in &packages() {
        for field in ["description", "license"] {
            assert!(package[field].is_string(), "{} has no {field}", name(package));
        }
    }
}

#[test]
fn names_say_something() {
    for path in tracked() {
        let parts = path.iter().map(|part| part.to_string_lossy().to_lowercase());
        for part in parts {
            let stem = part.split('.').next().unwrap_or_default();
            assert!(!NO_NAMES.contains(&stem), "{} says nothing", path.display());
        }
    }
}

#[test]
fn every_source_file_has_an_introduction_and_an_end() {
    for path in tracked().into_iter().filter(|path| ends_with(path, &["rs"])) {
        // A file that is about to be removed is still tracked.
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        assert!(text.starts_with("//! "), "{} has no introduction", path.display());
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_key_is_in_the_repository() {
    for path in tracked() {
        assert!(!ends_with(&path, SECRET_EXTENSIONS), "{} looks like a secret", path.display());
    }
}

fn packages() -> Vec<Value> {
    let output = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("cargo metadata lists {other}"),
    }
}

fn name(value: &Value) -> &str {
    value["name"].as_str().expect("a name")
}

/// What the package itself uses; its tests may use more.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().expect("an array").iter();
    all.filter(|dependency| dependency["kind"].is_null()).map(name)
}

fn ends_with(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extensions.contains(&extension))
}

/// The files that git knows, from the root.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
