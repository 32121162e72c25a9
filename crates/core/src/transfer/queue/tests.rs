//! The queue as tables, and through restarts of its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::refusal::Code;
use QueueEffect::{Keep, Start, Stop};
use TransferState::{Cancelled, Done, Failed, Hashing, Paused, Queued, Running, Waiting};

const T0: Timestamp = Timestamp(1_000);

fn id(number: u64) -> TransferId {
    TransferId(number)
}

fn queue(states: &[TransferState]) -> Queue {
    let mut queue = Queue::default();
    queue.handle_listed(&(1..).map(id).zip(states.iter().copied()).collect::<Vec<_>>());
    queue.handle_online(true);
    queue
}

fn drain(queue: &mut Queue, now: Timestamp) -> Vec<QueueEffect> {
    std::iter::from_fn(|| queue.poll_effect(now)).collect()
}

#[test]
fn names_and_numbers_come_back() {
    for state in TransferState::ALL {
        assert_eq!(TransferState::from_number(*state as u32), Some(*state));
        assert!(!(state.is_active() && state.is_over()), "{}", state.name());
    }
    assert_eq!(TransferState::from_number(0), None);
}

#[test]
fn a_few_at_a_time_in_the_order_of_queueing() {
    let mut queue = queue(&[Queued, Paused, Running, Queued, Failed, Queued]);
    assert_eq!(drain(&mut queue, T0), [Start(id(1)), Start(id(3))]);
    queue.handle_doing(id(1), Hashing);
    queue.handle_doing(id(1), Hashing);
    queue.handle_doing(id(1), Running);
    assert_eq!(drain(&mut queue, T0), [Keep(id(1), Hashing), Keep(id(1), Running)]);
    queue.handle_ended(id(3), &Ended::Done, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(3), Done), Start(id(4))]);
    queue.handle_ended(id(1), &Ended::Failed, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(1), Failed), Start(id(6))]);
    queue.handle_ended(id(4), &Ended::Done, 0, T0);
    queue.handle_ended(id(6), &Ended::Done, 0, T0);
    assert!(!queue.is_idle());
    assert_eq!(drain(&mut queue, T0), [Keep(id(4), Done), Keep(id(6), Done)]);
    assert!(queue.is_idle());
}

#[test]
fn nothing_begins_without_a_session_and_all_goes_on_with_the_next() {
    let mut queue = queue(&[Queued]);
    queue.handle_online(false);
    assert_eq!((drain(&mut queue, T0), queue.poll_timeout()), (vec![], None));
    queue.handle_online(true);
    assert_eq!(drain(&mut queue, T0), [Start(id(1))]);
    // A try is not stopped because the session is away: its connection may yet come back.
    queue.handle_online(false);
    assert_eq!(drain(&mut queue, T0), []);
    queue.handle_ended(id(1), &Ended::Lost { progressed: false }, 200, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(1), Waiting)]);
    queue.handle_online(true);
    assert_eq!(drain(&mut queue, T0), [Start(id(1))]);
    // With a session there is a backoff, and a new session ends it.
    queue.handle_ended(id(1), &Ended::Lost { progressed: true }, 200, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(1), Waiting)]);
    assert_eq!(queue.poll_timeout(), Some(T0 + Duration::from_millis(200)));
    assert_eq!(drain(&mut queue, T0 + Duration::from_millis(199)), []);
    assert_eq!(drain(&mut queue, T0 + Duration::from_millis(200)), [Start(id(1))]);
}

#[test]
fn what_passes_is_waited_for_and_lets_others_go_first() {
    let mut queue = queue(&[Queued, Queued, Queued]);
    assert_eq!(drain(&mut queue, T0), [Start(id(1)), Start(id(2))]);
    let refusal = Refusal::limited("slow down", Duration::from_secs(60));
    queue.handle_ended(id(1), &Ended::Refused { refusal, progressed: false }, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(1), Waiting), Start(id(3))]);
    queue.handle_ended(id(2), &Ended::Done, 0, T0);
    queue.handle_online(false);
    queue.handle_online(true);
    assert_eq!(drain(&mut queue, T0), [Keep(id(2), Done)], "the server named the time");
    assert_eq!(drain(&mut queue, T0 + Duration::from_secs(60)), [Start(id(1))]);
    for (code, kept) in [(Code::Quota, Failed), (Code::Unavailable, Waiting)] {
        let refusal = Refusal::new(code, "x");
        queue.handle_ended(id(1), &Ended::Refused { refusal, progressed: true }, 0, T0);
        assert_eq!(queue.poll_effect(T0), Some(Keep(id(1), kept)));
        queue.handle_listed(&[(id(1), Queued), (id(3), Queued)]);
        assert_eq!(queue.poll_effect(T0), Some(Start(id(1))), "again, or resumed");
    }
}

#[test]
fn what_is_paused_or_cancelled_ends_before_anything_takes_its_place() {
    let mut queue = queue(&[Queued, Queued, Queued]);
    drain(&mut queue, T0);
    queue.handle_listed(&[(id(1), Paused), (id(2), Running), (id(3), Queued)]);
    queue.handle_listed(&[(id(1), Paused), (id(2), Cancelled), (id(3), Queued)]);
    assert_eq!(drain(&mut queue, T0), [Stop(id(1)), Stop(id(2))]);
    // What it was doing is not written over what somebody wants.
    queue.handle_doing(id(1), Running);
    queue.handle_ended(id(1), &Ended::Stopped, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Start(id(3))]);
    queue.handle_ended(id(2), &Ended::Lost { progressed: true }, 0, T0);
    assert_eq!(drain(&mut queue, T0), []);
    // Resumed while it is being stopped: it begins again once it has ended.
    queue.handle_listed(&[(id(3), Paused)]);
    queue.handle_listed(&[(id(3), Queued)]);
    assert_eq!(drain(&mut queue, T0), [Stop(id(3))]);
    queue.handle_ended(id(3), &Ended::Stopped, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Keep(id(3), Waiting), Start(id(3))]);
    // It ended by itself before it was stopped: done is done.
    queue.handle_listed(&[(id(3), Paused)]);
    queue.handle_ended(id(3), &Ended::Done, 0, T0);
    assert_eq!(drain(&mut queue, T0), [Stop(id(3)), Keep(id(3), Done)]);
    assert!(queue.is_idle());
}

/// Numbers that follow from a seed: splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What is on disk, and what really happens.
#[derive(Default)]
struct World {
    disk: BTreeMap<TransferId, TransferState>,
    trying: BTreeSet<TransferId>,
    queue: Queue,
}

impl World {
    fn list(&mut self) {
        let listed: Vec<_> = self.disk.iter().map(|(id, state)| (*id, *state)).collect();
        self.queue.handle_listed(&listed);
    }

    fn carry_out(&mut self, now: Timestamp) {
        while let Some(effect) = self.queue.poll_effect(now) {
            match effect {
                // As the shell does: somebody has changed it since the list was read.
                Start(id) if !self.disk[&id].is_active() => {
                    self.queue.handle_ended(id, &Ended::Stopped, 0, now);
                    self.list();
                }
                Start(id) => {
                    assert!(self.trying.insert(id), "twice at a time");
                    assert!(self.trying.len() <= RUNNING_MAX);
                }
                Stop(id) => assert!(self.trying.contains(&id)),
                // As the shell does: what somebody wants, or what is over, stays.
                Keep(id, state) => {
                    let now = self.disk.get_mut(&id).expect("kept");
                    if now.is_active() || state == Done {
                        *now = state;
                    }
                }
            }
        }
    }

    fn step(&mut self, random: &mut Random, now: Timestamp) {
        let any = id(1 + random.below(self.disk.len().max(1) as u64));
        match random.below(12) {
            0 => drop(self.disk.insert(id(self.disk.len() as u64 + 1), Queued)),
            1 | 2 => {
                let found = self.disk.get_mut(&any).filter(|state| state.is_active());
                if let Some(state) = found {
                    *state = if random.below(4) == 0 { Cancelled } else { Paused };
                }
            }
            3 | 4 => {
                let found = self.disk.get_mut(&any);
                if let Some(state) = found.filter(|state| matches!(state, Paused | Failed)) {
                    *state = Queued;
                }
            }
            5 => self.queue.handle_online(random.below(2) == 0),
            // The process is killed, and all of its tries with it.
            6 => {
                self.queue = Queue::default();
                self.trying.clear();
            }
            _ => {
                let Some(id) = self.trying.pop_first() else { return };
                let progressed = random.below(2) == 0;
                let refusal = Refusal::new(Code::Unavailable, "x");
                let ended = match random.below(8) {
                    0 => Ended::Failed,
                    1 => Ended::Refused { refusal, progressed },
                    2 => Ended::Lost { progressed },
                    _ if self.disk[&id].is_active() => Ended::Done,
                    _ => Ended::Stopped,
                };
                self.queue.handle_ended(id, &ended, random.next(), now);
            }
        }
    }
}

#[test]
fn every_transfer_comes_to_its_end_through_restarts() {
    for seed in 0..300 {
        let (mut random, mut world) = (Random(seed), World::default());
        let mut now = T0;
        for _ in 0..400 {
            now = now + Duration::from_millis(random.below(400));
            world.step(&mut random, now);
            world.carry_out(now);
            if random.below(3) == 0 {
                world.list();
            }
            world.carry_out(now);
        }
        // From here on nothing fails: all that nobody has paused or cancelled gets done.
        for _ in 0..4 * world.disk.len() + 4 {
            now = now + Duration::from_secs(60);
            world.list();
            world.queue.handle_online(true);
            world.carry_out(now);
            while let Some(id) = world.trying.pop_first() {
                let active = world.disk[&id].is_active();
                let ended = if active { Ended::Done } else { Ended::Stopped };
                world.queue.handle_ended(id, &ended, 0, now);
                world.carry_out(now);
            }
        }
        let left: Vec<_> = world.disk.iter().filter(|(_, state)| state.is_active()).collect();
        assert!(left.is_empty() && world.queue.is_idle(), "seed {seed}: {left:?}");
    }
}
