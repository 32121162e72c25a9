//! What the command line takes. Every number has bounds, so that a slip of the finger ends with a
//! sentence and not with a machine that is out of memory.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::congestion::contender::Contender;

/// Sessions of one run at most: what one address can have at the server with its default limits.
const SESSIONS_MAX: i64 = 20_000;
/// Bytes of one file at most.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Pairs that exchange messages where nothing else is said.
const PAIRS_DEFAULT: u32 = 100;
/// Losses, in per cent, where nothing else is said.
const LOSS_PERCENT: [u32; 4] = [0, 2, 10, 30];
/// Per cent of all packets lost at most: with more it takes luck to stay connected.
const LOSS_PERCENT_MAX: i64 = 50;

const EXAMPLES: &str = "\
Figures mean something only from a release build, with nothing else on the machine:

  cargo build --release --bins
  cargo run --release -p skein-bench -- pingpong --sessions 1000 --rate 1000 --seconds 10
  cargo run --release -p skein-bench -- transfer --bytes 256MiB
  cargo run --release -p skein-bench -- loss
  cargo run --release -p skein-bench -- networks
  cargo run --release -p skein-bench -- priority

The server and the raw quinn process of each scenario are started and ended by the bench, on free
ports of 127.0.0.1. The exit code says whether everything arrived, not whether it was fast.
See bench/README.md for what is measured.";

/// Measures Skein against raw quinn, and on bad networks against the same network undisturbed.
#[derive(Debug, Parser)]
#[command(name = "skein-bench", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print one JSON object a line instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Also put the table into this Markdown file, in place of the fenced block after the line that
    /// is this command in backticks, such as `skein-bench loss`. A run that fails changes nothing.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Latency of messages at a fixed rate, with many sessions connected.
    Pingpong(Pingpong),
    /// Rate of an upload and a download.
    Transfer(Transfer),
    /// Rate of a file over a path that loses packets, up and then down.
    Loss(Loss),
    /// Chat and an upload over networks that are lossy, interrupted or changing.
    Networks(Networks),
    /// Chat on a narrow path, alone and beside an upload and a download that fill it.
    Priority(Priority),
    /// Congestion controllers against each other, over modelled paths in virtual time.
    Congestion(Congestion),
    /// All scenarios but `congestion`, tiny: whether they work.
    Smoke,
    /// The raw quinn process. Ends when its input does.
    #[command(hide = true)]
    Baseline {
        /// Where it writes what is to be kept.
        #[arg(long)]
        folder: PathBuf,
    },
}

/// The load of `pingpong`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Pingpong {
    /// Sessions that are connected.
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(2..=SESSIONS_MAX))]
    pub(crate) sessions: u32,
    /// Pairs of them that exchange messages; the other sessions are idle. By default 100, or all.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000))]
    pairs: Option<u32>,
    /// Messages a second, over all pairs, whether or not the server keeps up.
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=50_000))]
    pub(crate) rate: u32,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=120))]
    pub(crate) seconds: u32,
    /// Bytes of text in a message.
    #[arg(long, default_value_t = 128, value_parser = value_parser!(u32).range(1..=16 * 1024))]
    pub(crate) payload: u32,
}

/// The load of `transfer`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Transfer {
    /// Bytes of the file, at most 4 GiB: a number, or one with KiB, MiB or GiB after it.
    #[arg(long, default_value = "256MiB", value_parser = bytes)]
    pub(crate) bytes: u64,
    /// How often each is measured; the median is told.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
}

/// The load of `loss`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Loss {
    /// Bytes of the file, at most 4 GiB: a number, or one with KiB, MiB or GiB after it.
    #[arg(long, default_value = "100000000", value_parser = bytes)]
    pub(crate) bytes: u64,
    /// How many packets are lost each way, in per cent; may be given again for others.
    #[arg(
        long,
        default_values_t = LOSS_PERCENT,
        value_name = "LOSS",
        value_parser = value_parser!(u32).range(0..=LOSS_PERCENT_MAX),
    )]
    pub(crate) percent: Vec<u32>,
    /// Seconds that raw quinn has for each direction.
    #[arg(long, default_value_t = 15, value_parser = value_parser!(u32).range(1..=600))]
    pub(crate) quinn_seconds: u32,
}

impl Loss {
    /// A file that takes a moment.
    pub(crate) fn tiny() -> Self {
        Self { bytes: 1_000_000, percent: vec![2], quinn_seconds: 2 }
    }
}

/// What of `networks` is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Networks {
    /// Only this course, after the undisturbed one; may be given again for others.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A short form: chat for 10 s and a file of 5 MB, without the long blackout.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Without tus and ejabberd beside it.
    #[arg(long)]
    pub(crate) alone: bool,
    /// Also draw each course into this folder, as NAME.svg.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plots: Option<PathBuf>,
}

impl Networks {
    /// Two courses that take seconds.
    pub(crate) fn tiny() -> Self {
        let only = ["handover", "blackout-3s"];
        Self { only: only.map(str::to_owned).to_vec(), quick: true, alone: true, plots: None }
    }

    /// Whether this course is to be run.
    pub(crate) fn wants(&self, course: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == course)
    }

    /// Bytes of the file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        if self.quick { 5_000_000 } else { 100_000_000 }
    }
}

/// The load of `priority`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Priority {
    /// How long people chat, in seconds.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
}

impl Priority {
    /// A chat that takes a moment.
    pub(crate) const fn tiny() -> Self {
        Self { seconds: 2 }
    }
}

/// What `congestion` compares.
#[derive(Debug, Clone, Args)]
pub(crate) struct Congestion {
    /// Only these controllers.
    #[arg(long, value_enum)]
    controller: Vec<Contender>,
    /// Only the paths with this in their names.
    #[arg(long, default_value = "")]
    path: String,
}

impl Congestion {
    /// The controllers, all if none was named.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        match &self.controller[..] {
            [] => Contender::value_variants().to_vec(),
            some => some.to_vec(),
        }
    }

    /// Whether a path is to be measured.
    pub(crate) fn wants(&self, path: &str) -> bool {
        path.contains(&self.path)
    }
}

impl Pingpong {
    /// A load that takes about three seconds.
    pub(crate) const fn tiny() -> Self {
        Self { sessions: 20, pairs: Some(5), rate: 200, seconds: 2, payload: 128 }
    }

    /// Pairs that exchange messages.
    pub(crate) fn pairs(&self) -> u32 {
        self.pairs.unwrap_or(PAIRS_DEFAULT).min(self.sessions / 2)
    }

    /// Sessions that only are there.
    pub(crate) fn idle(&self) -> u32 {
        self.sessions - 2 * self.pairs()
    }

    /// Messages in all.
    pub(crate) fn messages(&self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds)
    }
}

impl Transfer {
    /// A load that takes a moment.
    pub(crate) const fn tiny() -> Self {
        Self { bytes: 8 * 1024 * 1024, rounds: 1 }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => Some(1),
        "KiB" => Some(1024),
        "MiB" => Some(1024 * 1024),
        "GiB" => Some(1024 * 1024 * 1024),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes
        .filter(|bytes| (1..=FILE_BYTES_MAX).contains(bytes))
        .ok_or_else(|| "from 1 to 4GiB, such as 1000000 or 256MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn bytes_have_units_and_bounds() {
        let table = [
            ("1", Some(1)),
            ("256MiB", Some(256 * 1024 * 1024)),
            ("4GiB", Some(FILE_BYTES_MAX)),
            ("5GiB", None),
            ("0", None),
            ("", None),
            ("MiB", None),
            ("1MB", None),
            ("99999999999GiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn pairs_never_exceed_the_sessions() {
        let load = Pingpong { sessions: 5, pairs: None, ..Pingpong::tiny() };
        assert_eq!((load.pairs(), load.idle()), (2, 1));
    }
}
