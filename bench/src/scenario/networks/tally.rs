//! What the notes of a run come to.

use std::{collections::BTreeMap, time::Duration};

use super::{
    chat,
    course::{Course, Mark},
    upload,
};
use crate::{
    failure::Failure,
    plot::System,
    report::{Finding, OnNetwork, ratio},
};

/// Everything that was noted while a course was played.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) system: &'static str,
    pub(crate) heard: chat::Notes,
    /// Nothing of a system that only chats.
    pub(crate) sent: Option<upload::Notes>,
    /// Each state of the client, and when that was.
    pub(crate) states: Vec<(Duration, &'static str)>,
    /// Messages that the bench could not even hand to the client.
    pub(crate) unsent: u64,
}

impl Run {
    /// How long the upload took, if it was ever complete.
    pub(crate) fn upload_seconds(&self) -> Option<f64> {
        self.done().map(|done| done.as_secs_f64())
    }

    /// What of this run makes it none, if anything. One of which not `all_arrives` in time may still
    /// bring nothing twice.
    pub(crate) fn failure(&self, course: &'static str, all_arrives: bool) -> Option<Failure> {
        let missing = if all_arrives { self.lost() } else { 0 };
        let repeated = self.heard.doubled;
        if missing > 0 || repeated > 0 {
            let expected = self.heard.messages.len() as u64;
            let unsent = self.unsent;
            let what = course;
            return Some(Failure::Incomplete { what, expected, missing, repeated, unsent });
        }
        (all_arrives && self.done().is_none()).then_some(Failure::NoFile(course))
    }

    /// What is to be drawn of it.
    pub(crate) fn drawn(&self) -> System {
        let messages = self.heard.messages.iter();
        let waits =
            messages.filter_map(|(due, came)| Some((*due, came.as_ref()?.saturating_sub(*due))));
        let progress = self.sent.iter().flat_map(|sent| sent.progress.iter().copied());
        System { name: self.system, waits: waits.collect(), progress: progress.collect() }
    }

    fn done(&self) -> Option<Duration> {
        self.sent.as_ref()?.done
    }

    fn lost(&self) -> u64 {
        self.heard.messages.iter().filter(|(_, came)| came.is_none()).count() as u64
    }
}

/// The row of a run. `base` is how long the same system took undisturbed.
pub(crate) fn finding(course: &Course, run: &Run, file_bytes: u64, base: Option<f64>) -> Finding {
    let mut waits: Vec<_> = run
        .heard
        .messages
        .iter()
        .filter_map(|(due, came)| Some(came.as_ref()?.saturating_sub(*due)))
        .collect();
    waits.sort_unstable();
    let chats = !run.heard.messages.is_empty();
    let blackout = run.done().map_or(Duration::ZERO, |done| blackout(&course.marks, done));
    let blackout_seconds = blackout.as_secs_f64();
    let upload_seconds = run.upload_seconds();
    Finding::Network(Box::new(OnNetwork {
        course: course.name,
        system: run.system,
        messages: run.heard.messages.len() as u64,
        wait_p50_ms: percentile(&waits, 50),
        wait_p99_ms: percentile(&waits, 99),
        wait_max_ms: percentile(&waits, 100),
        back_ms: back(&course.marks, &run.heard.messages).map(millis),
        lost: chats.then(|| run.lost()),
        doubled: chats.then_some(run.heard.doubled),
        file_bytes: if run.sent.is_some() { file_bytes } else { 0 },
        upload_seconds,
        blackout_seconds,
        ratio: upload_seconds
            .zip(base)
            .and_then(|(seconds, base)| ratio(seconds - blackout_seconds, base)),
        resent_bytes: run.sent.as_ref().map(|sent| sent.resent_bytes),
        states: states(&run.states),
    }))
}

/// By nearest rank, in milliseconds, of what is in order.
fn percentile(waits: &[Duration], percent: usize) -> Option<f64> {
    let rank = (waits.len() * percent).div_ceil(100).max(1);
    waits.get(rank - 1).copied().map(millis)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How long there was a blackout before this time.
fn blackout(marks: &[Mark], end: Duration) -> Duration {
    marks.iter().map(|mark| mark.until.min(end).saturating_sub(mark.from)).sum()
}

/// The longest time from the end of a disturbance until the first message that was due since it
/// began: what came earlier may have been on its way before. `None` without disturbances, or if
/// after one of them nothing came.
fn back(marks: &[Mark], messages: &[(Duration, Option<Duration>)]) -> Option<Duration> {
    let backs = marks.iter().map(|mark| {
        let since = messages.iter().filter(|(due, _)| *due >= mark.from);
        let came = since.filter_map(|(_, came)| *came).filter(|came| *came >= mark.until).min();
        came.map(|came| came - mark.until)
    });
    backs.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// How often the client was in each state.
fn states(seen: &[(Duration, &'static str)]) -> String {
    let mut counts = BTreeMap::<_, u32>::new();
    for (_, state) in seen {
        *counts.entry(*state).or_default() += 1;
    }
    let words = counts.into_iter().map(|(state, count)| format!("{state} {count}"));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_blackout_counts_as_far_as_it_came_before_the_end() {
        let marks = [Mark { from: ms(10), until: ms(40) }, Mark { from: ms(60), until: ms(90) }];
        for (end, expected) in [(5, 0), (10, 0), (25, 15), (50, 30), (70, 40), (100, 60)] {
            assert_eq!(blackout(&marks, ms(end)), ms(expected), "{end}");
        }
    }

    #[test]
    fn the_first_message_since_a_disturbance_tells_when_it_was_over() {
        let mark = Mark { from: ms(100), until: ms(200) };
        let messages =
            [(ms(90), Some(ms(205))), (ms(110), Some(ms(230))), (ms(190), Some(ms(220)))];
        assert_eq!(back(&[mark], &messages), Some(ms(20)));
        assert_eq!(back(&[mark], &messages[..1]), None);
        let late = Mark { from: ms(150), until: ms(150) };
        assert_eq!(back(&[mark, late], &messages), Some(ms(70)));
        assert_eq!(back(&[], &messages), None);
    }

    #[test]
    fn states_are_counted() {
        let seen = [(ms(0), "online"), (ms(5), "slow"), (ms(9), "online")];
        assert_eq!(states(&seen), "online 2, slow 1");
    }

    #[test]
    fn who_only_chats_has_no_figures_of_an_upload() {
        let course = &Course::all(true)[0];
        let messages = vec![(ms(0), Some(ms(20))), (ms(50), None)];
        let heard = chat::Notes { messages, doubled: 1 };
        let run = Run { system: "chats", heard, sent: None, states: Vec::new(), unsent: 0 };
        let found = serde_json::to_value(finding(course, &run, 5_000_000, None)).unwrap();
        let figures = ["messages", "lost", "doubled", "file_bytes"].map(|name| &found[name]);
        assert_eq!(figures, [2, 1, 1, 0]);
        assert!(found["upload_seconds"].is_null() && found["resent_bytes"].is_null());
        assert!(run.drawn().progress.is_empty() && run.drawn().waits.len() == 1);
    }
}
