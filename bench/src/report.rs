//! Tells what a run has found, as a table for people or as an object a line.

mod finding;
mod table;

pub(crate) use finding::{Finding, OnNetwork};

use self::table::Table;

/// Where findings go.
pub(crate) struct Report {
    is_json: bool,
    table: Table,
}

impl Report {
    /// A report on standard output, without a finding so far.
    pub(crate) const fn new(is_json: bool) -> Self {
        Self { is_json, table: Table::new() }
    }

    /// Tells one finding.
    pub(crate) fn tell(&mut self, finding: &Finding) {
        let lines = self.table.add(finding);
        if self.is_json {
            // Numbers and fixed words: nothing that JSON could not hold.
            println!("{}", serde_json::to_string(finding).expect("a finding is plain"));
        } else {
            print!("{lines}");
        }
    }

    /// The table of all that was told, whatever was printed.
    pub(crate) fn table(&self) -> &str {
        self.table.text()
    }
}

/// How many times `base` a figure is. Against nothing it says nothing.
pub(crate) fn ratio(figure: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| figure / base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Summary;

    #[test]
    fn a_finding_is_one_flat_object() {
        let latency = Summary { p50_us: 1, p90_us: 2, p99_us: 3, max_us: 4 };
        let finding = Finding::Latency {
            system: "skein",
            what: "append",
            sessions: 10,
            pairs: 5,
            rate_per_second: 100,
            messages: 200,
            payload_bytes: 128,
            latency,
            p50_ratio: ratio(3.0, 2.0),
            p99_ratio: ratio(1.0, 0.0),
        };
        let object = serde_json::to_value(&finding).unwrap();
        assert_eq!(object["result"], "latency");
        assert_eq!((&object["p99_us"], &object["p50_ratio"]), (&3.into(), &1.5.into()));
        assert!(object.get("p99_ratio").is_none());
        assert!(Table::new().add(&finding).contains("\nskein append"));
    }
}
