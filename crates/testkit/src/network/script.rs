//! What happens to a network when: a list of steps in time, played to relays.

use std::{io, net::IpAddr, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep_until};

use super::{
    conditions::Conditions,
    path::Path,
    tcp::{Death, TcpRelay},
    typical::{self, Network},
    udp::{Blocking, UdpRelay},
};

#[cfg(test)]
mod tests;

/// Steps in a script.
const STEPS_MAX: usize = 10_000;
/// How long a fade takes on the way into a tunnel and out of it.
const FADE: Duration = Duration::from_millis(500);

/// Something that happens to a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Both directions change.
    Set {
        /// From the client to the server.
        up: Conditions,
        /// From the server to the client.
        down: Conditions,
    },
    /// The direction from the client to the server changes.
    Up(Conditions),
    /// The direction from the server to the client changes.
    Down(Conditions),
    /// A blackout begins or ends; all else stays.
    Cut(bool),
    /// Clients come from other ports; TCP connections die in silence.
    Rebind,
    /// Clients come from this address; TCP connections die in silence.
    Readdress(IpAddr),
    /// UDP is blocked, or no more.
    Block(Option<Blocking>),
}

/// Steps in time, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    steps: Vec<(Duration, Step)>,
}

/// To what steps can happen. What does not concern it, it leaves.
pub trait Scripted: Sync {
    /// Takes a step.
    ///
    /// # Errors
    /// If no socket can be had.
    fn apply(&self, step: Step) -> io::Result<()>;
}

impl From<Network> for Step {
    fn from(Network { up, down, .. }: Network) -> Self {
        Self::Set { up, down }
    }
}

impl Script {
    /// With this step, so long after the beginning; after those of the same time.
    #[must_use]
    pub fn at(mut self, time: Duration, step: impl Into<Step>) -> Self {
        assert!(self.steps.len() < STEPS_MAX, "a script has at most {STEPS_MAX} steps");
        let after = self.steps.partition_point(|(other, _)| *other <= time);
        self.steps.insert(after, (time, step.into()));
        self
    }

    /// With all steps of another, which begins at this time.
    #[must_use]
    pub fn then(self, time: Duration, other: &Self) -> Self {
        other.steps.iter().fold(self, |script, (at, step)| script.at(time + *at, *step))
    }

    /// The steps and their times.
    #[must_use]
    pub fn steps(&self) -> &[(Duration, Step)] {
        &self.steps
    }

    /// A blackout, after which the network is as before.
    #[must_use]
    pub fn blackout(after: Duration, length: Duration) -> Self {
        Self::default().at(after, Step::Cut(true)).at(after + length, Step::Cut(false))
    }

    /// The NAT forgets its clients so often.
    #[must_use]
    pub fn rebinding(interval: Duration, times: u32) -> Self {
        let steps = 1..=times;
        steps.fold(Self::default(), |script, time| script.at(interval * time, Step::Rebind))
    }

    /// A train with a phone goes into a tunnel after so long, and stays there for so long: the
    /// network fades, is gone, fades in, and the client has another port.
    #[must_use]
    pub fn train_tunnel(after: Duration, length: Duration) -> Self {
        let lte = typical::lte();
        let fading = typical::edge();
        Self::default()
            .at(Duration::ZERO, lte)
            .at(after, fading)
            .at(after + FADE, Step::Cut(true))
            .at(after + FADE + length, Step::Rebind)
            .at(after + FADE + length, fading)
            .at(after + FADE + length + FADE, lte)
    }

    /// A day out, in short: every `interval` the network becomes another typical one, is gone for a
    /// while, or the client gets another port. The same seed gives the same day.
    #[must_use]
    pub fn wandering(seed: u64, interval: Duration, times: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let networks = Network::all();
        (0..times).fold(Self::default(), |script, time| {
            let at = interval * time;
            match random.random_range(0..4) {
                0 => script.then(at, &Self::blackout(Duration::ZERO, interval / 2)),
                1 => script.at(at, Step::Rebind),
                _ => script.at(at, networks[random.random_range(0..networks.len())]),
            }
        })
    }

    /// Plays it to all of these, from now on, accurate to some milliseconds.
    ///
    /// # Errors
    /// If no socket can be had. Then the rest is not played.
    pub async fn run(&self, on: &[&dyn Scripted]) -> io::Result<()> {
        let begin = Instant::now();
        for (at, step) in &self.steps {
            sleep_until(begin + *at).await;
            for one in on {
                one.apply(*step)?;
            }
        }
        Ok(())
    }
}

impl Scripted for Path {
    fn apply(&self, step: Step) -> io::Result<()> {
        let (old_up, old_down) = self.conditions();
        match step {
            Step::Set { up, down } => self.set(up, down),
            Step::Up(up) => self.set(up, old_down),
            Step::Down(down) => self.set(old_up, down),
            Step::Cut(cut) => self.cut(cut),
            Step::Rebind | Step::Readdress(_) | Step::Block(_) => {}
        }
        Ok(())
    }
}

impl Scripted for UdpRelay {
    fn apply(&self, step: Step) -> io::Result<()> {
        match step {
            Step::Rebind => self.rebind(),
            Step::Readdress(address) => self.readdress(address),
            Step::Block(blocking) => self.block(blocking)?,
            _ => self.path().apply(step)?,
        }
        Ok(())
    }
}

impl Scripted for TcpRelay {
    fn apply(&self, step: Step) -> io::Result<()> {
        match step {
            Step::Rebind => self.rebind(Death::Silent),
            Step::Readdress(address) => self.readdress(address, Death::Silent),
            _ => self.path().apply(step)?,
        }
        Ok(())
    }
}
