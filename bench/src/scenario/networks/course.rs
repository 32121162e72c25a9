//! What happens to the network in each course, and when.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use skein_testkit::network::{Blocking, Conditions, Step};

use super::RATE_PER_SECOND;
use crate::plot::Plot;

/// Bits in a second, each way, in every network.
const BITS_PER_SECOND: u64 = 50_000_000;
/// What the queue of a network holds at most, as time.
const QUEUE: Duration = Duration::from_millis(50);
/// How long a packet takes each way over the Wi-Fi, which all courses begin in.
const WIFI_DELAY: Duration = Duration::from_millis(20);
/// How long a packet takes each way over the mobile network.
const CELL_DELAY: Duration = Duration::from_millis(30);
/// Between one change and the next.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long people chat where the course does not need longer.
const CHAT: Duration = Duration::from_secs(30);
/// The same where it only has to be seen to work.
const CHAT_QUICK: Duration = Duration::from_secs(10);
/// When something begins to happen in the short form, and how often.
const INTERVAL_QUICK: Duration = Duration::from_secs(1);
/// From which addresses the client comes, in turn.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];

/// What happens from beginning to end.
#[derive(Debug)]
pub(crate) struct Course {
    /// Stable, since files and results are named after it.
    pub(crate) name: &'static str,
    /// The network at the beginning, both ways.
    pub(crate) network: Conditions,
    /// How long messages are due.
    pub(crate) chat: Duration,
    /// In order.
    pub(crate) turns: Vec<Turn>,
    /// Disturbances, in order.
    pub(crate) marks: Vec<Mark>,
}

/// Something that happens to the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Since the beginning.
    pub(crate) at: Duration,
    pub(crate) step: Step,
    /// Whether the client is told that it has another network, as the system of a phone tells it.
    pub(crate) is_told: bool,
}

/// A disturbance: how long nothing got through, which is no time at all where an address changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Course {
    /// All of them; the undisturbed one is the first. Short ones differ in how long they are.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let every = if quick { INTERVAL_QUICK } else { INTERVAL };
        let chat = if quick { CHAT_QUICK } else { CHAT };
        let walk = if quick { CHAT_QUICK } else { Duration::from_secs(120) };
        let new = |name| Self::new(name, chat);
        let mut all = vec![
            new("undisturbed"),
            Self::new("handover", walk).handovers(every),
            new("nat-rebinding").rebindings(every),
            new("blackout-3s").blackout(every, Duration::from_secs(3)),
        ];
        if !quick {
            let long = Duration::from_secs(60);
            all.push(Self::new("blackout-60s", every + long + CHAT).blackout(every, long));
        }
        for (name, loss) in [
            ("loss-1", 0.01),
            ("loss-2", 0.02),
            ("loss-5", 0.05),
            ("loss-10", 0.1),
            ("loss-30", 0.3),
        ] {
            let course = new(name);
            all.push(Self { network: course.network.with_loss(loss), ..course });
        }
        all.push(new("udp-blocked").blocked(every));
        all
    }

    /// Whether nothing happens: what the others are held against.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.turns.is_empty() && self.network == wifi()
    }

    /// What is to be drawn of it, before anyone has done anything.
    pub(crate) fn plot(&self, file_bytes: u64) -> Plot {
        let megabytes = file_bytes / 1_000_000;
        let title =
            format!("{}: {RATE_PER_SECOND} messages a second, {megabytes} MB up", self.name);
        let marks = self.marks.iter().map(|mark| (mark.from, mark.until)).collect();
        Plot { title, marks, systems: Vec::new() }
    }

    fn new(name: &'static str, chat: Duration) -> Self {
        Self { name, network: wifi(), chat, turns: Vec::new(), marks: Vec::new() }
    }

    /// From the Wi-Fi to the mobile network and back.
    fn handovers(self, every: Duration) -> Self {
        let times = self.times(every);
        (1..=times).fold(self, |course, time| {
            let network = if time % 2 == 1 { cell() } else { wifi() };
            let step = Step::Set { up: network, down: network };
            course.at(every * time, step).moved(every * time, time)
        })
    }

    /// The NAT forgets the client, which does not hear of it.
    fn rebindings(self, every: Duration) -> Self {
        let times = self.times(every);
        (1..=times).fold(self, |course, time| {
            let at = every * time;
            course.at(at, Step::Rebind).mark(at, at)
        })
    }

    fn blackout(self, at: Duration, length: Duration) -> Self {
        self.at(at, Step::Cut(true)).at(at + length, Step::Cut(false)).mark(at, at + length)
    }

    /// The client moves to a network that drops UDP, and stays there.
    fn blocked(self, at: Duration) -> Self {
        self.at(at, Step::Block(Some(Blocking::Silent))).moved(at, 1)
    }

    /// The client has another address.
    fn moved(mut self, at: Duration, time: u32) -> Self {
        let address = ADDRESSES[time as usize % ADDRESSES.len()];
        let (step, is_told) = (Step::Readdress(address), true);
        self.turns.push(Turn { at, step, is_told });
        self.mark(at, at)
    }

    /// How often something can happen so that a whole interval follows.
    fn times(&self, every: Duration) -> u32 {
        let times = (self.chat.as_millis() / every.as_millis()).saturating_sub(1);
        u32::try_from(times).unwrap_or(u32::MAX)
    }

    fn at(mut self, at: Duration, step: Step) -> Self {
        self.turns.push(Turn { at, step, is_told: false });
        self
    }

    fn mark(mut self, from: Duration, until: Duration) -> Self {
        self.marks.push(Mark { from, until });
        self
    }
}

fn wifi() -> Conditions {
    Conditions::delayed(WIFI_DELAY).with_rate(BITS_PER_SECOND, QUEUE)
}

fn cell() -> Conditions {
    Conditions::delayed(CELL_DELAY).with_rate(BITS_PER_SECOND, QUEUE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn courses_are_in_order_and_end_while_people_chat() {
        for quick in [true, false] {
            let all = Course::all(quick);
            assert!(all[0].is_undisturbed());
            assert!(!all[1..].iter().any(Course::is_undisturbed));
            let names: HashSet<_> = all.iter().map(|course| course.name).collect();
            assert_eq!(names.len(), all.len());
            for course in all {
                assert!(course.turns.is_sorted_by_key(|turn| turn.at), "{}", course.name);
                assert!(
                    course.marks.iter().all(|mark| mark.until < course.chat),
                    "{}",
                    course.name
                );
            }
        }
    }

    #[test]
    fn a_walk_of_two_minutes_has_a_handover_every_five_seconds() {
        let all = Course::all(false);
        let walk = all.iter().find(|course| course.name == "handover").unwrap();
        assert_eq!(walk.marks.len(), 23);
        assert_eq!(walk.marks[1].from, Duration::from_secs(10));
    }
}
