//! How a line is made: to which node, and what is said first.

use std::sync::Arc;

use skein_core::{port::directory::ChatNode, sync::Target};

use super::{
    Driver,
    line::{self, Manner, Plan},
};

impl Driver {
    pub(super) fn dial(&mut self, target: Target) {
        self.hang_up();
        self.note_ways();
        let manner = match target {
            Target::Last => Manner::Last,
            Target::Named => Manner::AskFirst,
            Target::Other => Manner::Instead,
        };
        let plan = self.plan(self.parts.login.node.clone(), manner);
        self.dialing = Some(line::dial(plan, self.generation, self.news_in.clone()));
    }

    pub(super) fn plan(&self, node: ChatNode, manner: Manner) -> Plan {
        Plan {
            dialer: Arc::clone(&self.parts.dialer),
            gate: self.parts.gate.clone(),
            token: self.parts.login.token.clone(),
            node,
            manner,
            hello: self.hello(self.parts.session.cursors()),
            early: self.parts.session.speaks_early(),
        }
    }

    /// A number that no line has had.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.lines += 1;
        self.lines
    }
}
