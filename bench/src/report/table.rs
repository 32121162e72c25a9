//! Findings as a table for people: a heading where another kind of finding begins, and a row each.

use super::{Finding, OnNetwork};
use crate::latency::Summary;

const MIB: f64 = 1024.0 * 1024.0;

/// The rows so far.
pub(super) struct Table {
    text: String,
    heading: Option<&'static str>,
}

impl Table {
    /// A table without a row.
    pub(super) const fn new() -> Self {
        Self { text: String::new(), heading: None }
    }

    /// All lines so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds a row, and before it what it needs above it; gives these lines.
    pub(super) fn add(&mut self, finding: &Finding) -> &str {
        let before = self.text.len();
        if self.text.is_empty() {
            let cores = std::thread::available_parallelism().map_or(0, usize::from);
            let build = if cfg!(debug_assertions) { "debug: no measurement" } else { "release" };
            self.line(&format!("skein-bench on {cores} cores, {build}"));
        }
        let heading = heading(finding);
        if self.heading != Some(heading) {
            self.line("");
            self.line(heading);
            self.heading = Some(heading);
        }
        self.line(&row(finding));
        &self.text[before..]
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

const NETWORK_HEADING: &str = "\
bad network    system     wait50 wait99    max   back  lost doubled  upload     x  again  states
                              ms     ms     ms     ms                     s          KiB";

const fn heading(finding: &Finding) -> &'static str {
    match finding {
        Finding::Latency { .. } => {
            "latency          sessions   rate/s   p50 us   p90 us   p99 us   max us  p50 x  p99 x"
        }
        Finding::Memory { .. } => "memory           sessions  KiB a session    x",
        Finding::Rate { .. } => "transfer                 MiB      MB/s  ratio",
        Finding::Network { .. } => NETWORK_HEADING,
        Finding::Peak { .. } => "peak growth              MiB       KiB",
        Finding::Priority { .. } => {
            "priority                 p50 ms  p99 ms  max ms  p99 x  Mbit/s up   down"
        }
        Finding::Loss { .. } => "loss      system  direction       MB      s  Mbit/s  share",
        Finding::Alone { .. } => {
            "alone                          controller  Mbit/s  first 3 s  wait ms    p95  standing  \
             overflow"
        }
        Finding::Changing { .. } => {
            "a path that changes            controller  from s  Mbit/s  wait ms"
        }
        Finding::Shared { .. } => {
            "shared                         controller  Mbit/s   other  ratio  wait ms  standing"
        }
        Finding::Chat { .. } => {
            "chat                           controller  p50 ms  p99 ms   max ms      up    down"
        }
    }
}

fn row(finding: &Finding) -> String {
    match finding {
        Finding::Latency { system, what, sessions, rate_per_second, latency, .. } => {
            let Summary { p50_us, p90_us, p99_us, max_us } = latency;
            let ratios = match finding {
                Finding::Latency { p50_ratio: Some(p50), p99_ratio: Some(p99), .. } => {
                    format!(" {p50:>6.2} {p99:>6.2}")
                }
                _ => String::new(),
            };
            let name = format!("{system} {what}");
            format!(
                "{name:<16} {sessions:>8} {rate_per_second:>8} {p50_us:>8} {p90_us:>8} \
                 {p99_us:>8} {max_us:>8}{ratios}"
            )
        }
        Finding::Memory { system, sessions, bytes_per_session, ratio } => {
            let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:>5.2}"));
            let kib = *bytes_per_session as f64 / 1024.0;
            format!("{system:<16} {sessions:>8} {kib:>14.1}{ratio}")
        }
        Finding::Rate {
            system, what, file_bytes, megabytes_per_second, ratio, ratio_to, ..
        } => {
            let ratio = ratio
                .zip(*ratio_to)
                .map_or_else(String::new, |(ratio, to)| format!(" {ratio:>6.2} of quinn {to}"));
            let (name, mib) = (format!("{system} {what}"), *file_bytes as f64 / MIB);
            format!("{name:<20} {mib:>7.0} {megabytes_per_second:>9.1}{ratio}")
        }
        Finding::Network(on) => network_row(on),
        Finding::Priority { .. } | Finding::Loss { .. } => relayed(finding),
        Finding::Alone { .. }
        | Finding::Changing { .. }
        | Finding::Shared { .. }
        | Finding::Chat { .. } => modelled(finding),
        Finding::Peak { system, what, file_bytes, peak_bytes } => {
            let (name, mib) = (format!("{system} {what}"), *file_bytes as f64 / MIB);
            format!("{name:<20} {mib:>7.0} {:>9}", peak_bytes / 1024)
        }
    }
}

fn network_row(on: &OnNetwork) -> String {
    let whole = |figure: Option<f64>| figure.map_or("-".to_owned(), |one| format!("{one:.0}"));
    let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let (p50, p99) = (whole(on.wait_p50_ms), whole(on.wait_p99_ms));
    let (longest, back) = (whole(on.wait_max_ms), whole(on.back_ms));
    let took = on.upload_seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}"));
    let ratio = on.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{:<14} {:<10} {p50:>6} {p99:>6} {longest:>6} {back:>6} {:>5} {:>7} {took:>7} {ratio:>5} \
         {:>6}  {}",
        on.course,
        on.system,
        count(on.lost),
        count(on.doubled),
        count(on.resent_bytes.map(|bytes| bytes.div_ceil(1024))),
        on.states,
    )
}

/// A row about a path of one kind behind a relay.
fn relayed(finding: &Finding) -> String {
    match finding {
        Finding::Priority {
            system,
            what,
            latency,
            p99_ratio,
            up_megabits_per_second: up,
            down_megabits_per_second: down,
            ..
        } => {
            let name = format!("{system} {what}");
            let [p50, p99, max] =
                [latency.p50_us, latency.p99_us, latency.max_us].map(|us| us as f64 / 1000.0);
            let ratio = p99_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            format!("{name:<23} {p50:>7.1} {p99:>7.1} {max:>7.1} {ratio:>6} {up:>10.2} {down:>6.2}")
        }
        Finding::Loss {
            loss_percent,
            system,
            direction,
            bytes,
            seconds,
            megabits_per_second: rate,
            share,
        } => {
            let (name, megabytes) = (format!("{loss_percent} %"), *bytes as f64 / 1e6);
            format!(
                "{name:<9} {system:<7} {direction:<9} {megabytes:>8.1} {seconds:>6.1} {rate:>7.2} \
                 {share:>6.2}"
            )
        }
        _ => String::new(),
    }
}

/// A row about a modelled path.
fn modelled(finding: &Finding) -> String {
    match finding {
        Finding::Alone {
            path,
            controller,
            megabits_per_second: rate,
            first_3_s_megabits_per_second: first,
            wait_mean_ms: mean,
            wait_p95_ms: p95,
            wait_standing_ms: standing,
            overflowed_packets: overflowed,
        } => format!(
            "{path:<30} {controller:<10} {rate:>7.2} {first:>10.2} {mean:>8.1} {p95:>6.1} \
             {standing:>9.1} {overflowed:>9}"
        ),
        Finding::Changing {
            path,
            controller,
            from_s,
            megabits_per_second: rate,
            wait_mean_ms: mean,
        } => format!("{path:<30} {controller:<10} {from_s:>7} {rate:>7.2} {mean:>8.1}"),
        Finding::Shared {
            path,
            controller,
            megabits_per_second: rate,
            other_megabits_per_second: other,
            ratio,
            wait_mean_ms: mean,
            wait_standing_ms: standing,
        } => format!(
            "{path:<30} {controller:<10} {rate:>7.2} {other:>7.2} {ratio:>6.2} {mean:>8.1} \
             {standing:>9.1}"
        ),
        Finding::Chat {
            path,
            controller,
            p50_ms,
            p99_ms,
            max_ms,
            up_megabits_per_second: up,
            down_megabits_per_second: down,
            ..
        } => format!(
            "{path:<30} {controller:<10} {p50_ms:>7.1} {p99_ms:>7.1} {max_ms:>8.1} {up:>7.2} \
             {down:>7.2}"
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(system: &'static str) -> Finding {
        Finding::Loss {
            loss_percent: 2,
            system,
            direction: "upload",
            bytes: 25_000_000,
            seconds: 5.0,
            megabits_per_second: 40.0,
            share: 0.8,
        }
    }

    #[test]
    fn a_heading_stands_where_another_kind_of_finding_begins() {
        let mut table = Table::new();
        let first = table.add(&loss("skein")).to_owned();
        assert_eq!(first.lines().count(), 4);
        assert_eq!(table.add(&loss("quinn")).lines().count(), 1);
        let peak = Finding::Peak { system: "skein", what: "upload", file_bytes: 1, peak_bytes: 1 };
        assert_eq!(table.add(&peak).lines().count(), 3);
        assert_eq!(table.text().lines().count(), 8);
        assert!(table.text().starts_with(&first));
    }

    #[test]
    fn figures_stand_under_their_headings() {
        let finding = loss("skein");
        let ends = |line: &str| {
            let is_end = |at: &usize| line[..*at].ends_with(|letter| letter != ' ');
            let is_end =
                |at: &usize| is_end(at) && !line[*at..].starts_with(|letter| letter != ' ');
            (1..=line.len()).rev().filter(is_end).take(4).collect::<Vec<_>>()
        };
        assert_eq!(ends(heading(&finding)), ends(&row(&finding)));
    }
}
