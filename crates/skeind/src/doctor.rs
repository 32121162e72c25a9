//! `skeind doctor`: looks at every part that is configured and at this machine, and says for each
//! what it found and how to mend what is wrong. It changes nothing but probes (in the bucket, in
//! Redis, in the data folder), which it removes.

mod certificate;
mod machine;
mod parts;
mod peers;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesOrdered, FuturesUnordered},
};
use serde::Serialize;
use serde_json::json;
use skein_core::time::Clock;
use skein_ops::clock::SystemClock;

use crate::{Config, admin::printable};

/// How far two clocks may be apart before it is worth a word.
const SKEW_WARN: Duration = Duration::from_secs(2);
/// How far two clocks may be apart before logins and codes end at the wrong time.
const SKEW_FAIL: Duration = Duration::from_secs(60);

/// One that takes its time.
type Check<'a> = BoxFuture<'a, Vec<Finding>>;

/// How to print.
#[derive(Debug, Args)]
pub struct Options {
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not well.
    Warn,
    /// It does not work.
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at: the key of the configuration, or a part of the machine.
    pub(crate) check: String,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    pub(crate) fn warn(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warn, mend: Some(mend.into()), ..Self::ok(check, found) }
    }

    pub(crate) fn fail(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, mend: Some(mend.into()), ..Self::ok(check, found) }
    }

    /// What a clock that is `offset_ms` ahead of this machine's means.
    fn of_clock(check: &str, offset_ms: i64) -> Self {
        let apart = Duration::from_millis(offset_ms.unsigned_abs());
        let words = if offset_ms < 0 { "behind" } else { "ahead of" };
        let found = format!("its clock is {:.1} s {words} this machine's", apart.as_secs_f64());
        let mend = "let both keep time by NTP (chrony, systemd-timesyncd)";
        if apart >= SKEW_FAIL {
            Self::fail(check, found, mend)
        } else if apart >= SKEW_WARN {
            Self::warn(check, found, mend)
        } else {
            Self::ok(check, found)
        }
    }
}

/// Runs every check and prints what it found, as soon as it is found for people. The exit code is
/// 1 if something does not work.
pub async fn run(options: Options, config: &Config) -> ExitCode {
    let (mut failed, mut read) = (false, true);
    let mut stdout = io::stdout();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut found = examine(config, &clock, options.json);
    while let Some(findings) = found.next().await {
        for finding in findings {
            failed |= finding.verdict == Verdict::Fail;
            let line = if options.json { json!(finding).to_string() } else { words(&finding) };
            // Whoever has had enough of the output still gets the exit code.
            read = read && writeln!(stdout, "{line}").is_ok();
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What all checks found: for programs in the order of the configuration, for people as soon as it
/// is known.
fn examine<'a>(
    config: &'a Config,
    clock: &'a Arc<dyn Clock>,
    in_order: bool,
) -> BoxStream<'a, Vec<Finding>> {
    let quick = async move {
        let mut findings = machine::examine(config);
        findings.extend(certificate::examine(config, clock.now()));
        findings
    };
    stream::once(quick).chain(all_at_once(slow(config, clock), in_order)).boxed()
}

/// What is away takes its time; all at once it takes that only once.
fn all_at_once(checks: Vec<Check<'_>>, in_order: bool) -> BoxStream<'_, Vec<Finding>> {
    if in_order {
        FuturesOrdered::from_iter(checks).boxed()
    } else {
        FuturesUnordered::from_iter(checks).boxed()
    }
}

/// The checks that wait for others, in the order of the configuration.
fn slow<'a>(config: &'a Config, clock: &'a Arc<dyn Clock>) -> Vec<Check<'a>> {
    vec![
        Box::pin(parts::store(config, &**clock)),
        Box::pin(parts::bus(config, &**clock)),
        Box::pin(parts::blobs(config)),
        Box::pin(peers::mail(config)),
        Box::pin(peers::roles(config, Arc::clone(clock))),
    ]
}

fn words(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok  ",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    let line = format!("{verdict}  {}: {}", finding.check, printable(&finding.found));
    match &finding.mend {
        Some(mend) => format!("{line}\n      -> {}", printable(mend)),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_apart_are_told_by_how_much_it_matters() {
        for (offset_ms, verdict) in [
            (0, Verdict::Ok),
            (-1_999, Verdict::Ok),
            (2_000, Verdict::Warn),
            (-59_999, Verdict::Warn),
            (3_600_000, Verdict::Fail),
        ] {
            assert_eq!(Finding::of_clock("store", offset_ms).verdict, verdict, "{offset_ms}");
        }
        let found = Finding::of_clock("store", -3_600_000).found;
        assert_eq!(found, "its clock is 3600.0 s behind this machine's");
    }

    #[tokio::test]
    async fn people_do_not_wait_for_what_is_slow() {
        for in_order in [false, true] {
            let (finish, finished) = tokio::sync::oneshot::channel::<()>();
            let slow: Check<'_> = Box::pin(async {
                finished.await.unwrap();
                vec![Finding::ok("slow", "")]
            });
            let quick: Check<'_> = Box::pin(async { vec![Finding::ok("quick", "")] });
            let mut found = all_at_once(vec![slow, quick], in_order);
            let mut checks = Vec::new();
            if !in_order {
                checks.extend(found.next().await.unwrap());
            }
            finish.send(()).unwrap();
            while let Some(findings) = found.next().await {
                checks.extend(findings);
            }
            let checks: Vec<_> = checks.iter().map(|finding| finding.check.as_str()).collect();
            let expected = if in_order { ["slow", "quick"] } else { ["quick", "slow"] };
            assert_eq!(checks, expected);
        }
    }

    #[test]
    fn a_line_says_how_to_mend() {
        let finding = Finding::warn("udp", "small", "enlarge it");
        assert_eq!(words(&finding), "warn  udp: small\n      -> enlarge it");
        let json = json!(finding).to_string();
        assert!(json.contains(r#""verdict":"warn""#), "{json}");
    }
}
