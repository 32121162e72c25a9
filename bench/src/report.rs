//! What a run has found, as a table for people or as an object a line.

use serde::Serialize;

use crate::{congestion::contender::Contender, latency::Summary};

const MIB: f64 = 1024.0 * 1024.0;

/// One result. The field names of the JSON form are stable.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum Finding {
    /// How long messages took.
    Latency {
        /// `skein` or `quinn`.
        system: &'static str,
        /// `append`, `delivery` or `echo`.
        what: &'static str,
        sessions: u32,
        pairs: u32,
        rate_per_second: u32,
        messages: u64,
        payload_bytes: u32,
        #[serde(flatten)]
        latency: Summary,
        /// By how much longer than raw quinn's echo, in the median.
        #[serde(skip_serializing_if = "Option::is_none")]
        p50_ratio: Option<f64>,
        /// The same at the 99th percentile.
        #[serde(skip_serializing_if = "Option::is_none")]
        p99_ratio: Option<f64>,
    },
    /// How much a server grew for each session.
    Memory {
        system: &'static str,
        sessions: u32,
        bytes_per_session: u64,
        /// As a multiple of raw quinn's.
        #[serde(skip_serializing_if = "Option::is_none")]
        ratio: Option<f64>,
    },
    /// How fast a file went.
    Rate {
        system: &'static str,
        /// `upload`, `upload_discard`, `upload_persist` or `download`.
        what: &'static str,
        file_bytes: u64,
        rounds: u32,
        /// Of the median round.
        seconds: f64,
        megabytes_per_second: f64,
        /// As a part of raw quinn's rate that comes nearest.
        #[serde(skip_serializing_if = "Option::is_none")]
        ratio: Option<f64>,
        /// Against which of its results.
        #[serde(skip_serializing_if = "Option::is_none")]
        ratio_to: Option<&'static str>,
    },
    /// How chat and an upload went on a disturbed network. Boxed, since it is the largest.
    Network(Box<OnNetwork>),
    /// How long messages took on a narrow path.
    Priority {
        /// `skein`, or `skein-tcp` where UDP was blocked all the time.
        system: &'static str,
        /// `alone` or `beside bulk`.
        what: &'static str,
        messages: u64,
        #[serde(flatten)]
        latency: Summary,
        /// By how much longer than alone, at the 99th percentile.
        #[serde(skip_serializing_if = "Option::is_none")]
        p99_ratio: Option<f64>,
        up_megabits_per_second: f64,
        down_megabits_per_second: f64,
    },
    /// What one flow moved on a modelled path.
    Alone {
        path: &'static str,
        controller: Contender,
        megabits_per_second: f64,
        first_3_s_megabits_per_second: f64,
        wait_mean_ms: f64,
        wait_p95_ms: f64,
        /// The least of each half second, on average.
        wait_standing_ms: f64,
        overflowed_packets: u64,
    },
    /// What one flow moved in five seconds of a modelled path that changes.
    Changing {
        path: &'static str,
        controller: Contender,
        from_s: f64,
        megabits_per_second: f64,
        wait_mean_ms: f64,
    },
    /// What two flows on a modelled path moved.
    Shared {
        path: &'static str,
        controller: Contender,
        megabits_per_second: f64,
        other_megabits_per_second: f64,
        ratio: f64,
        wait_mean_ms: f64,
        wait_standing_ms: f64,
    },
    /// How long messages took one way on a modelled path, those up and those down.
    Chat {
        path: &'static str,
        controller: Contender,
        messages: usize,
        p50_ms: f64,
        p99_ms: f64,
        max_ms: f64,
        up_megabits_per_second: f64,
        down_megabits_per_second: f64,
    },
    /// By how much the server's memory rose at most while it moved a file.
    Peak { system: &'static str, what: &'static str, file_bytes: u64, peak_bytes: u64 },
}

/// How chat and an upload went in one course.
#[derive(Debug, Serialize)]
pub(crate) struct OnNetwork {
    pub(crate) course: &'static str,
    /// `skein`, or `skein-tcp` where UDP was blocked all the time, or `tus`, which only uploads, or
    /// `ejabberd`, which only chats.
    pub(crate) system: &'static str,
    pub(crate) messages: u64,
    /// From when messages were due until the other member had them. Those that never came count
    /// nowhere here.
    pub(crate) wait_p50_ms: Option<f64>,
    pub(crate) wait_p99_ms: Option<f64>,
    pub(crate) wait_max_ms: Option<f64>,
    /// From the end of a disturbance until the first message that was due since it began; the
    /// longest of all disturbances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) back_ms: Option<f64>,
    /// `None` where nobody chats.
    pub(crate) lost: Option<u64>,
    pub(crate) doubled: Option<u64>,
    /// 0 where nobody uploads.
    pub(crate) file_bytes: u64,
    pub(crate) upload_seconds: Option<f64>,
    /// Seconds of these in which nothing got through at all.
    pub(crate) blackout_seconds: f64,
    /// The upload without the blackouts, as a multiple of the same system's undisturbed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// Bytes that the application sent more than once. `None` where nobody uploads.
    pub(crate) resent_bytes: Option<u64>,
    /// How often the client was said to be in each state, by `state times`.
    pub(crate) states: String,
}

/// Where findings go.
pub(crate) struct Report {
    is_json: bool,
    heading: Option<&'static str>,
}

impl Report {
    /// A report on standard output, without a finding so far.
    pub(crate) const fn new(is_json: bool) -> Self {
        Self { is_json, heading: None }
    }

    /// Tells one finding.
    pub(crate) fn tell(&mut self, finding: &Finding) {
        if self.is_json {
            // Numbers and fixed words: nothing that JSON could not hold.
            println!("{}", serde_json::to_string(finding).expect("a finding is plain"));
            return;
        }
        if self.heading.is_none() {
            let cores = std::thread::available_parallelism().map_or(0, usize::from);
            let build = if cfg!(debug_assertions) { "debug: no measurement" } else { "release" };
            println!("skein-bench on {cores} cores, {build}");
        }
        let heading = heading(finding);
        if self.heading != Some(heading) {
            println!("\n{heading}");
            self.heading = Some(heading);
        }
        println!("{}", row(finding));
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

/// How many times `base` a figure is. Against nothing it says nothing.
pub(crate) fn ratio(figure: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| figure / base)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(row(&finding).starts_with("skein append"));
    }
}
