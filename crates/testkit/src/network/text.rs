//! Networks and steps in words, for people who try things by hand.

use std::{net::IpAddr, num::ParseFloatError, str::FromStr, time::Duration};

use thiserror::Error;

use super::{
    conditions::{Burst, Conditions, Queue, Rate, Reordering},
    script::{Script, Step},
    typical::Network,
    udp::Blocking,
};

/// The queue of a link whose depth nobody told.
const QUEUE: Queue = Queue::Time(Duration::from_millis(100));

/// Why words could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadText(String);

impl BadText {
    fn new(what: &str, is: &str) -> Self {
        Self(format!("`{what}` is no {is}"))
    }
}

impl Conditions {
    /// Changes one thing: `loss`, `burst` (share/length), `delay`, `jitter`, `reorder` (share/how
    /// late), `duplicate`, `rate`, `queue` (bytes or time, after `rate`) or `mtu`.
    ///
    /// # Errors
    /// If there is no such thing, or not so.
    pub fn change(&mut self, name: &str, value: &str) -> Result<(), BadText> {
        let of_two = || value.split_once('/').ok_or_else(|| BadText::new(value, "pair like 2%/5"));
        match name {
            "loss" => self.loss = share(value)?,
            "burst" => {
                let (loss, length) = of_two()?;
                self.burst = Some(Burst::of(share(loss)?, number(length)?));
            }
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "reorder" => {
                let (probability, late) = of_two()?;
                let (probability, late) = (share(probability)?, time(late)?);
                self.reordering = Some(Reordering { probability, late });
            }
            "duplicate" => self.duplication = share(value)?,
            "rate" => {
                let queue = self.rate.map_or(QUEUE, |rate| rate.queue);
                self.rate = Some(Rate { bits_per_second: rate(value)?, queue });
            }
            "queue" => {
                let Some(rate) = &mut self.rate else {
                    return Err(BadText("a queue needs a rate before it".into()));
                };
                rate.queue = queue(value)?;
            }
            "mtu" => self.mtu = Some(number(value)? as usize),
            _ => return Err(BadText::new(name, "property of a network")),
        }
        Ok(())
    }
}

/// `loss=2%,delay=40ms,rate=10mbit,queue=100ms`; see [`Conditions::change`].
impl FromStr for Conditions {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let mut conditions = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let pair = part.split_once('=').ok_or_else(|| BadText::new(part, "property=value"))?;
            conditions.change(pair.0.trim(), pair.1.trim())?;
        }
        Ok(conditions)
    }
}

/// `cut`, `restore`, `rebind`, `readdress ADDRESS`, `block`, `refuse`, `unblock`, `up CONDITIONS`,
/// `down CONDITIONS`, `set CONDITIONS`, or the name of a typical network.
impl FromStr for Step {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Ok(match word {
            "cut" => Self::Cut(true),
            "restore" => Self::Cut(false),
            "rebind" => Self::Rebind,
            "readdress" => {
                let address: Result<IpAddr, _> = rest.trim().parse();
                Self::Readdress(address.map_err(|_| BadText::new(rest, "IP address"))?)
            }
            "block" => Self::Block(Some(Blocking::Silent)),
            "refuse" => Self::Block(Some(Blocking::Refused)),
            "unblock" => Self::Block(None),
            "up" => Self::Up(rest.parse()?),
            "down" => Self::Down(rest.parse()?),
            "set" => {
                let both = rest.parse()?;
                Self::Set { up: both, down: both }
            }
            name => Network::named(name).ok_or_else(|| BadText::new(name, "step"))?.into(),
        })
    }
}

/// A step a line, each after its time: `3s cut`. What follows a `#` is for people.
impl FromStr for Script {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).try_fold(Self::default(), |script, line| {
            let (at, step) =
                line.split_once(' ').ok_or_else(|| BadText::new(line, "timed step"))?;
            Ok(script.at(time(at)?, step.parse::<Step>()?))
        })
    }
}

fn number(text: &str) -> Result<f64, BadText> {
    let number: Result<f64, ParseFloatError> = text.parse();
    let number = number.ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| BadText::new(text, "number"))
}

/// A number with one of these units.
fn measure(text: &str, what: &str, units: &[(&str, f64)]) -> Result<f64, BadText> {
    let found = units.iter().find_map(|(unit, worth)| {
        let number = number(text.strip_suffix(unit)?).ok()?;
        Some(number * worth)
    });
    found.ok_or_else(|| BadText::new(text, what))
}

/// `2%` or `0.02`.
fn share(text: &str) -> Result<f64, BadText> {
    let share = measure(text, "share like 2% or 0.02", &[("%", 0.01), ("", 1.0)])?;
    if share <= 1.0 { Ok(share) } else { Err(BadText::new(text, "share of at most 100%")) }
}

fn time(text: &str) -> Result<Duration, BadText> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0)];
    let seconds = measure(text, "time like 40ms or 3s", &units)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| BadText::new(text, "time"))
}

fn rate(text: &str) -> Result<u64, BadText> {
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("bit", 1.0)];
    Ok(measure(text, "rate like 10mbit", &units)? as u64)
}

fn queue(text: &str) -> Result<Queue, BadText> {
    let bytes = measure(text, "size", &[("kB", 1e3), ("MB", 1e6), ("B", 1.0)]);
    match bytes {
        Ok(bytes) => Ok(Queue::Bytes(bytes as u64)),
        Err(_) => {
            Ok(Queue::Time(time(text).map_err(|_| BadText::new(text, "depth like 64kB or 100ms"))?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_what_they_say() {
        let text = "loss=2%,burst=1%/5,delay=40ms,jitter=0.5ms,reorder=0.5%/3ms,duplicate=0.01,\
                    rate=10mbit,queue=64kB,mtu=1280";
        let expected = Conditions {
            loss: 0.02,
            burst: Some(Burst::of(0.01, 5.0)),
            delay: Duration::from_millis(40),
            jitter: Duration::from_micros(500),
            reordering: Some(Reordering { probability: 0.005, late: Duration::from_millis(3) }),
            duplication: 0.01,
            rate: Some(Rate { bits_per_second: 10_000_000, queue: Queue::Bytes(64_000) }),
            mtu: Some(1280),
            cut: false,
        };
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!("".parse(), Ok(Conditions::default()));
        let rate: Conditions = "rate=300kbit,queue=2s".parse().unwrap();
        let depth = Queue::Time(Duration::from_secs(2));
        assert_eq!(rate.rate, Some(Rate { bits_per_second: 300_000, queue: depth }));
    }

    #[test]
    fn a_script_is_read_line_by_line() {
        let text = "# a walk\n0s wifi\n3s cut # the door\n3.5s rebind\n3.5s lte\n";
        let script = Script::default()
            .at(Duration::ZERO, Network::named("wifi").unwrap())
            .at(Duration::from_secs(3), Step::Cut(true))
            .at(Duration::from_millis(3500), Step::Rebind)
            .at(Duration::from_millis(3500), Network::named("lte").unwrap());
        assert_eq!(text.parse(), Ok(script));
        assert_eq!("readdress 127.0.0.9".parse(), Ok(Step::Readdress([127, 0, 0, 9].into())));
        assert_eq!("refuse".parse(), Ok(Step::Block(Some(Blocking::Refused))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("loss=120%", "`120%` is no share of at most 100%"),
            ("delay=40", "`40` is no time like 40ms or 3s"),
            ("queue=1s", "a queue needs a rate before it"),
            ("speed=1", "`speed` is no property of a network"),
            ("loss", "`loss` is no property=value"),
            ("rate=-1mbit", "`-1mbit` is no rate like 10mbit"),
        ] {
            let error = text.parse::<Conditions>().unwrap_err();
            assert_eq!(error.to_string(), says);
        }
        assert_eq!("dance".parse::<Step>().unwrap_err().to_string(), "`dance` is no step");
        assert!("cut".parse::<Script>().is_err());
    }
}
