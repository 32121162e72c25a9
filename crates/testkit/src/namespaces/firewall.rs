//! What the router does with packets, as rules for `nft`: NAT, loss, and what a NAT does not know.

use std::fmt::Write;

/// The first port that the NAT gives.
const PORT_FIRST: u32 = 20_000;
/// How many ports are given until the next rebinding.
const PORTS: u32 = 1_000;
/// How many such ranges there are. A flow never gets a port of the range before.
const RANGES: u32 = 40;
/// Loss is drawn in so many parts of a whole.
const PARTS: u32 = 10_000;

/// The router's rules.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    rebinds: u32,
    lost_parts: u32,
}

impl Firewall {
    /// From now on flows get other ports.
    pub(super) const fn rebind(&mut self) {
        self.rebinds += 1;
    }

    /// From now on this share of packets is lost.
    pub(super) fn lose(&mut self, percent: f64) {
        let parts = (percent.clamp(0.0, 100.0) * f64::from(PARTS) / 100.0).round();
        // In range after the clamp.
        self.lost_parts = parts as u32;
    }

    /// All rules, in place of those before; it happens at once or not at all.
    pub(super) fn rules(&self) -> String {
        let first = PORT_FIRST + PORTS * (self.rebinds % RANGES);
        let last = first + PORTS - 1;
        let mut rules = String::from("table inet lab\ndelete table inet lab\ntable inet lab {\n");
        rules.push_str("chain nat {\ntype nat hook postrouting priority srcnat\n");
        for (interface, address) in [("wifi", "192.0.2.11"), ("cell", "192.0.2.12")] {
            // Writing to a string does not fail.
            writeln!(
                rules,
                "iifname {interface} meta nfproto ipv4 meta l4proto {{ tcp, udp }} \
                 snat ip to {address}:{first}-{last} fully-random"
            )
            .ok();
        }
        rules.push_str("}\nchain unknown {\ntype filter hook input priority filter\n");
        // A NAT is silent about packets for a flow that it does not know.
        rules.push_str("iifname wan meta l4proto { tcp, udp } drop\n}\n");
        rules.push_str("chain loss {\ntype filter hook forward priority filter\n");
        if self.lost_parts > 0 {
            writeln!(rules, "numgen random mod {PARTS} < {} drop", self.lost_parts).ok();
        }
        rules.push_str("}\n}\n");
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebinding_shares_no_port_with_the_one_before() {
        let mut firewall = Firewall::default();
        assert!(firewall.rules().contains("192.0.2.11:20000-20999"), "{}", firewall.rules());
        firewall.rebind();
        assert!(firewall.rules().contains("192.0.2.12:21000-21999"), "{}", firewall.rules());
    }

    #[test]
    fn loss_is_a_share_of_packets() {
        let mut firewall = Firewall::default();
        assert!(!firewall.rules().contains("numgen"));
        firewall.lose(2.5);
        assert!(firewall.rules().contains("numgen random mod 10000 < 250 drop"));
    }
}
