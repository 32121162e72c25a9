//! Every metric has a unit and a help and is explained to operators, and the dashboard, the alerts
//! and the scrape configuration name what exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Metrics that are not described in a `metric.rs`: of the process, and of the build.
const OF_THE_PROCESS: &[&str] = &[
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "skein_build_info",
    "skein_errors_total",
];
/// What Prometheus makes of a histogram.
const HISTOGRAM_SUFFIXES: &[&str] = &["_bucket", "_sum", "_count"];
/// How names of metrics begin.
const PREFIXES: &[&str] = &["skein_", "process_"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The constants of each crate's `metric.rs`: their names and the rest of the file.
fn declared() -> Vec<(PathBuf, BTreeMap<String, String>, String)> {
    let crates = fs::read_dir(root().join("crates")).expect("there are crates");
    let paths = crates.map(|entry| entry.expect("readable").path().join("src/metric.rs"));
    paths
        .filter(|path| path.exists())
        .map(|path| {
            let text = read(&path);
            let names = text.lines().filter_map(|line| {
                let (name, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
                Some((name.to_owned(), value.strip_suffix("\";")?.to_owned()))
            });
            (path, names.collect(), text)
        })
        .collect()
}

#[test]
fn each_metric_has_a_unit_and_a_help() {
    let mut seen = BTreeSet::new();
    for (path, names, text) in declared() {
        let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (constant, name) in names {
            let path = path.display();
            assert!(seen.insert(name.clone()), "{name} is declared twice");
            assert!(PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{path}: {name}");
            let described = ["counter", "gauge", "histogram"].iter().any(|kind| {
                ["", " "].iter().any(|space| {
                    let call = format!("describe_{kind}!({space}{constant}, Unit::");
                    let Some((_, rest)) = flat.split_once(&call) else { return false };
                    rest.split_once(", \"").is_some_and(|(unit, help)| {
                        unit.chars().all(char::is_alphabetic) && help.find('"') > Some(10)
                    })
                })
            });
            assert!(described, "{path}: {constant} is not described with a unit and a help");
            let total = text.contains(&format!("describe_counter!({constant},"));
            assert!(!total || name.ends_with("_total"), "{name} is a counter");
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

/// The names of all metrics.
fn known() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = OF_THE_PROCESS.iter().map(|&name| name.to_owned()).collect();
    known.extend(declared().into_iter().flat_map(|(_, names, _)| names.into_values()));
    known
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let known = known();
    for file in ["deploy/grafana/skein.json", "deploy/prometheus/alerts.yml"] {
        let text = read(&root().join(file));
        if file.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).expect("a dashboard is JSON");
        }
        let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        let used: BTreeSet<_> =
            words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect();
        assert!(used.len() > 3, "{file}: {used:?}");
        for name in used {
            let bare = HISTOGRAM_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            let exists = known.contains(name) || bare.is_some_and(|bare| known.contains(bare));
            assert!(exists, "{file} names {name}, which nothing counts");
        }
    }
}

#[test]
fn operators_can_read_of_every_metric_and_every_alert() {
    let page = read(&root().join("docs/operations.md"));
    for name in known() {
        assert!(page.contains(&format!("`{name}`")), "docs/operations.md says nothing of {name}");
    }
    let alerts = read(&root().join("deploy/prometheus/alerts.yml"));
    let alerts: Vec<_> = alerts.lines().filter_map(|line| line.split_once("- alert: ")).collect();
    assert!(alerts.len() > 3, "{alerts:?}");
    for (_, alert) in alerts {
        let row = format!("| `{alert}` (");
        assert!(page.contains(&row), "docs/operations.md does not say what to do at {alert}");
    }
}

#[test]
fn the_processes_of_the_compose_file_are_scraped() {
    let compose = read(&root().join("deploy/compose.yaml"));
    let scraped = read(&root().join("deploy/prometheus/prometheus.yml"));
    let named: Vec<_> =
        scraped.split(['[', ' ', ',', ']']).filter_map(|one| one.strip_suffix(":9090")).collect();
    assert!(named.len() > 3, "{named:?}");
    for name in named {
        let key = format!("\n  {name}:");
        assert!(compose.contains(&key), "deploy/compose.yaml has no {name}");
    }
}
