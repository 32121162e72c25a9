//! What a run can find. The field names are those of the JSON form, which are stable.

use serde::Serialize;

use crate::{congestion::contender::Contender, latency::Summary};

/// One result.
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
    /// How fast a file went over a path that loses packets.
    Loss {
        loss_percent: u32,
        /// `skein` or `quinn`.
        system: &'static str,
        /// `upload` or `download`.
        direction: &'static str,
        /// What has arrived: less than the file where raw quinn had no more time.
        bytes: u64,
        /// From the first byte on.
        seconds: f64,
        megabits_per_second: f64,
        /// Of what the path carries.
        share: f64,
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
