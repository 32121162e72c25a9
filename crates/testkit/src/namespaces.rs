//! A small real network: a server, a router and a client in network namespaces of their own, where
//! the client has a `wifi` and a `cell` interface that come and go as those of a phone do.
//!
//! ```text
//!  client                     router                        server
//!  wifi 10.77.1.2 ─────────── 10.77.1.1   NAT 192.0.2.11 ┐
//!       2001:db8:1::2         2001:db8:1::1              ├─ 192.0.2.1, 2001:db8::1
//!  cell 10.77.2.2 ─────────── 10.77.2.1   NAT 192.0.2.12 ┘  chat.skein.test
//!       2001:db8:2::2         2001:db8:2::1
//! ```
//!
//! What [`network`](crate::network) models in userspace is the kernel's own here: interfaces,
//! addresses, routes, connection tracking and NAT. It takes root (or `CAP_SYS_ADMIN` and
//! `CAP_NET_ADMIN`) and the programs `ip`, `tc`, `nft`, `conntrack`, `ethtool`; `docs/network-lab.md`
//! shows how to make the same by hand. Addresses are private ones (RFC 1918) and those of
//! documentation (RFC 5737, RFC 3849), and nothing here touches the network of the machine.

mod build;
mod firewall;
mod leftover;
mod run;

use std::{
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

pub use self::run::LabError;
use self::{firewall::Firewall, leftover::PREFIX, run::run};
use crate::process::Program;

/// The name of the server in all three namespaces, with an address of each family.
pub const SERVER_NAME: &str = "chat.skein.test";
/// The server's IPv4 address.
pub const SERVER_V4: &str = "192.0.2.1";
/// The server's IPv6 address.
pub const SERVER_V6: &str = "2001:db8::1";

/// A metric that goes before those of both interfaces.
const PREFERRED_METRIC: u32 = 10;

/// One of the three machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the server runs.
    Server,
    /// Between the two, with the NAT.
    Router,
    /// Where the client runs.
    Client,
}

/// An interface of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// The one that is used while it is up.
    Wifi,
    /// The other one.
    Cell,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, behind a NAT.
    V4,
    /// IPv6, without one.
    V6,
}

/// The three namespaces. They go when this is dropped, with every process in them; what a killed
/// process left is removed by the next [`Lab::new`] of any process.
#[derive(Debug)]
pub struct Lab {
    base: String,
    firewall: Firewall,
    up: Vec<Interface>,
    families: Vec<Family>,
    preferred: Option<Interface>,
}

impl Lab {
    /// Makes the network, with both interfaces up, both families, and `wifi` in use.
    ///
    /// # Errors
    /// [`LabError`]: most likely this is not root, or a program is missing.
    pub fn new() -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        leftover::sweep();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Dropped, and so taken down, also if it is only half built.
        let mut lab = Self {
            base: format!("{PREFIX}{}-{count}", process::id()),
            firewall: Firewall::default(),
            up: Vec::new(),
            families: vec![Family::V4, Family::V6],
            preferred: None,
        };
        lab.build()?;
        lab.apply_firewall()?;
        for interface in Interface::ALL {
            lab.up(interface)?;
        }
        Ok(lab)
    }

    /// The name of the namespace, for `ip netns`.
    #[must_use]
    pub fn namespace(&self, place: Place) -> String {
        format!("{}-{}", self.base, place.name())
    }

    /// A command that runs there. The process that is started is the program itself.
    #[must_use]
    pub fn command(&self, place: Place, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(place)]).arg(program);
        command
    }

    /// A program that runs there and ends with this process; its output goes to the file `log`.
    #[must_use]
    pub fn program(&self, place: Place, program: &Path, log: &Path) -> Program {
        Program::new("ip", log).args(["netns", "exec", &self.namespace(place)]).arg(program)
    }

    /// Runs a command there to its end; gives what it printed.
    ///
    /// # Errors
    /// [`LabError`] if it fails or takes too long.
    pub fn run_in(&self, place: Place, command: &[&str]) -> Result<String, LabError> {
        let namespace = self.namespace(place);
        let enter = ["ip", "netns", "exec", &namespace];
        run(&[&enter, command].concat(), "")
    }

    /// The interface goes away, with its addresses and routes.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn down(&mut self, interface: Interface) -> Result<(), LabError> {
        self.up.retain(|other| *other != interface);
        let name = interface.name();
        // The addresses go as well: a network manager takes them when the carrier is lost.
        self.ip(Place::Client, &format!("link set {name} down\naddress flush dev {name}\n"))
    }

    /// The interface comes back. `wifi` is used again, unless [`route_via`](Self::route_via) says
    /// otherwise.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn up(&mut self, interface: Interface) -> Result<(), LabError> {
        if self.up.contains(&interface) {
            return Ok(());
        }
        self.up.push(interface);
        self.ip(Place::Client, &format!("link set {} up\n", interface.name()))?;
        for family in self.families.clone() {
            self.address(interface, family)?;
        }
        Ok(())
    }

    /// The default routes of both families lead over this interface, as long as it is up. No
    /// interface and no address changes.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn route_via(&mut self, interface: Interface) -> Result<(), LabError> {
        self.preferred = Some(interface);
        for family in self.families.clone() {
            self.default_route(interface, family, PREFERRED_METRIC)?;
        }
        Ok(())
    }

    /// The NAT forgets what it knew: what goes on to be sent appears with another port, and answers
    /// to the old one are dropped.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn rebind_nat(&mut self) -> Result<(), LabError> {
        self.firewall.rebind();
        self.apply_firewall()?;
        // Flows that are known keep their port until they are forgotten.
        self.run_in(Place::Router, &["conntrack", "-F"]).map(drop)
    }

    /// The router loses this share of all packets, in either direction.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn loss(&mut self, percent: f64) -> Result<(), LabError> {
        self.firewall.lose(percent);
        self.apply_firewall()
    }

    /// Each interface of the client takes so much in either direction, and what is more waits for up
    /// to 50 ms in a queue or is lost.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn rate(&self, megabits_per_second: u32) -> Result<(), LabError> {
        let rate = format!("{megabits_per_second}mbit");
        for (place, interface) in [Place::Client, Place::Router]
            .into_iter()
            .flat_map(|place| Interface::ALL.map(|interface| (place, interface)))
        {
            let replace = ["tc", "qdisc", "replace", "dev", interface.name(), "root", "tbf"];
            let shape = ["rate", &rate, "burst", "64kb", "latency", "50ms"];
            self.run_in(place, &[&replace[..], &shape].concat())?;
        }
        Ok(())
    }

    /// The client has no addresses of this family any more, on any interface.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn remove(&mut self, family: Family) -> Result<(), LabError> {
        self.families.retain(|other| *other != family);
        let option = family.option();
        for interface in self.up.clone() {
            let name = interface.name();
            let namespace = self.namespace(Place::Client);
            let ip = ["ip", "-n", &namespace, option];
            // Routes first: IPv6 keeps those whose source address is gone.
            for words in [["route", "flush"], ["address", "flush"]] {
                let what: &[&str] = if words[0] == "route" {
                    &["default", "dev", name]
                } else {
                    &["dev", name, "scope", "global"]
                };
                run(&[&ip[..], &words, what].concat(), "")?;
            }
        }
        Ok(())
    }

    /// The client has addresses of this family again.
    ///
    /// # Errors
    /// [`LabError`].
    pub fn restore(&mut self, family: Family) -> Result<(), LabError> {
        self.families.retain(|other| *other != family);
        self.families.push(family);
        for interface in self.up.clone() {
            self.address(interface, family)?;
        }
        Ok(())
    }

    /// Gives an interface its address and its routes.
    fn address(&self, interface: Interface, family: Family) -> Result<(), LabError> {
        let (name, number) = (interface.name(), interface.number());
        let line = match family {
            Family::V4 => format!("address replace 10.77.{number}.2/24 dev {name}\n"),
            // Nobody else has it, so it need not be tried for a second whether somebody has.
            Family::V6 => format!("address replace 2001:db8:{number}::2/64 dev {name} nodad\n"),
        };
        self.ip(Place::Client, &line)?;
        self.default_route(interface, family, 100 * number)?;
        if self.preferred == Some(interface) {
            self.default_route(interface, family, PREFERRED_METRIC)?;
        }
        Ok(())
    }

    fn default_route(
        &self,
        interface: Interface,
        family: Family,
        metric: u32,
    ) -> Result<(), LabError> {
        let number = interface.number();
        let gateway = match family {
            Family::V4 => format!("10.77.{number}.1"),
            Family::V6 => format!("2001:db8:{number}::1"),
        };
        let (name, all) = (interface.name(), family.all());
        let line = format!("route replace {all} via {gateway} dev {name} metric {metric}\n");
        self.ip(Place::Client, &line)
    }

    fn apply_firewall(&self) -> Result<(), LabError> {
        let namespace = self.namespace(Place::Router);
        let nft = ["ip", "netns", "exec", &namespace, "nft", "-f", "-"];
        run(&nft, &self.firewall.rules()).map(drop)
    }

    /// Runs `ip` in a namespace, a line a command.
    fn ip(&self, place: Place, lines: &str) -> Result<(), LabError> {
        run(&["ip", "-n", &self.namespace(place), "-batch", "-"], lines).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for place in Place::ALL {
            leftover::remove(&self.namespace(place));
        }
    }
}

impl Place {
    const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Router];

    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Router => "router",
            Self::Client => "client",
        }
    }
}

impl Interface {
    const ALL: [Self; 2] = [Self::Wifi, Self::Cell];

    const fn name(self) -> &'static str {
        match self {
            Self::Wifi => "wifi",
            Self::Cell => "cell",
        }
    }

    /// Its place in addresses and in the order of routes.
    const fn number(self) -> u32 {
        match self {
            Self::Wifi => 1,
            Self::Cell => 2,
        }
    }
}

impl Family {
    const fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// The prefix of everything.
    const fn all(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0/0",
            Self::V6 => "::/0",
        }
    }
}
