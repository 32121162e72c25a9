//! What Skein is built from may be shipped under MIT OR Apache-2.0: no dependency is available under
//! a copyleft licence only.

use std::{env, process::Command};

use serde_json::Value;

/// Licences whose terms allow shipping the code in a program under another licence, by SPDX id.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether one can choose a permissive reading of an SPDX expression: a term of each `AND` must be
/// permissive in one of its `OR`s.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(" WITH LLVM-exception", "");
    let mut depth = 0_i32;
    // Splits at the outermost `AND`s; what is in brackets is one term.
    let mut terms = vec![String::new()];
    for word in expression.replace('(', "( ").replace(')', " )").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "AND" if depth == 0 => terms.push(String::new()),
            "OR" | "AND" => {}
            licence => {
                if let Some(term) = terms.last_mut() {
                    term.push_str(licence);
                    term.push(' ');
                }
            }
        }
    }
    terms.iter().all(|term| term.split_whitespace().any(|one| PERMISSIVE.contains(&one)))
}

#[test]
fn every_dependency_may_be_shipped() {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refused: Vec<_> = packages
        .iter()
        .map(|package| (text(&package["name"]), text(&package["license"])))
        .filter(|(_, licence)| !is_permissive(licence))
        .collect();
    assert!(packages.len() > 100, "the whole graph was read");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for expression in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR X) AND Unicode-3.0"] {
        assert!(is_permissive(expression), "{expression}");
    }
    for expression in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "AGPL-3.0", ""] {
        assert!(!is_permissive(expression), "{expression}");
    }
}
