//! The world: time, the network, and the processes in it. What goes wrong there is [`mischief`].

mod connection;
mod counts;
mod mischief;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use skein_core::{
    id::AccountId,
    sync::{CloseReason, Effect},
    time::Timestamp,
};

pub(crate) use counts::Counts;

use crate::{
    checker::Checker,
    client::{Beside, Client, ClientId, DELAYS_MS, Request, ToClient},
    random::Random,
    server::{ConnId, Mutant, Outgoing, Server},
};

/// How long the world does its worst.
const HOSTILE_MS: u64 = 25_000;
/// How long it then is kind: several of the longest backoffs and timeouts.
const KIND_MS: u64 = 300_000;
/// How often the server compares heads.
const COMPARE_MS: u64 = 2_500;
/// How often something happens that nobody asked for.
const MISCHIEF_MS: u64 = 150;

#[derive(Debug)]
enum Happening {
    Dialed {
        client: ClientId,
        generation: u64,
    },
    ToServer {
        conn: ConnId,
        request: Request,
    },
    ToClient {
        conn: ConnId,
        message: ToClient,
    },
    /// The client notices that its connection is gone.
    Closed {
        client: ClientId,
        generation: u64,
        reason: CloseReason,
    },
    /// The server has noticed that a client has closed this connection.
    Left {
        conn: ConnId,
    },
    /// The server closes this connection, if it is still the client's.
    Drained {
        client: ClientId,
        conn: ConnId,
    },
    Commit {
        epoch: u64,
    },
    CompareHeads,
    Alarm {
        client: ClientId,
    },
    Start {
        client: ClientId,
    },
    ServerUp,
    Mischief,
}

pub(crate) struct World {
    random: Random,
    verbose: bool,
    now: u64,
    /// Ordered by time, then by the order of scheduling.
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    scheduled: u64,
    server: Server,
    server_up: bool,
    /// Counts server lives: a commit of an earlier life never happens.
    epoch: u64,
    commit_scheduled: bool,
    clients: Vec<Client>,
    accounts: u64,
    conns: ConnId,
    /// When the last message of each direction of a connection arrives: a stream keeps its order.
    arrivals: BTreeMap<(ConnId, bool), u64>,
    checker: Checker,
    counts: Counts,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant, verbose: bool) -> Self {
        let mut random = Random::new(seed);
        let accounts = random.within(2..4);
        let mut clients = Vec::new();
        for account in 1..=accounts {
            for _ in 0..random.within(1..3) {
                clients.push(Client::new(AccountId(account)));
            }
        }
        Self {
            random,
            verbose,
            now: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            scheduled: 0,
            server: Server::new(mutant),
            server_up: true,
            epoch: 0,
            commit_scheduled: false,
            clients,
            accounts,
            conns: 0,
            arrivals: BTreeMap::new(),
            checker: Checker::default(),
            counts: Counts::default(),
        }
    }

    /// Lets it all happen.
    pub(crate) fn run(mut self) -> Result<Counts, String> {
        let pair = [AccountId(1), AccountId(2)];
        self.server.befriend(pair, &mut self.random, Timestamp(0));
        for client in 0..self.clients.len() {
            let delay = self.random.within(0..500);
            self.after(delay, Happening::Start { client });
        }
        self.after(COMPARE_MS, Happening::CompareHeads);
        self.after(MISCHIEF_MS, Happening::Mischief);
        let mut unsettled = String::new();
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = at;
            if at > HOSTILE_MS + KIND_MS {
                return Err(unsettled);
            }
            let happening = self.happenings.remove(&number).expect("scheduled once");
            let compares = matches!(happening, Happening::CompareHeads);
            self.happen(happening)?;
            if compares {
                Checker::logs(&self.server)?;
            }
            if compares && !self.hostile() {
                match self.checker.settled(&self.server, &self.clients) {
                    Ok(()) => break,
                    Err(missing) => unsettled = missing,
                }
            }
        }
        self.counts.repeated = self.server.repeated;
        Ok(self.counts)
    }

    fn hostile(&self) -> bool {
        self.now < HOSTILE_MS
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn after(&mut self, delay: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Reverse((self.now + delay, self.scheduled)));
        self.happenings.insert(self.scheduled, happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        if self.verbose && !matches!(happening, Happening::Mischief | Happening::CompareHeads) {
            println!("{:>8} {happening:?}", self.now);
        }
        match happening {
            Happening::Dialed { client, generation } => self.dialed(client, generation),
            Happening::ToServer { conn, request } => {
                let (hostile, now) = (self.hostile(), self.time());
                let outgoing = self.server.handle(conn, request, &mut self.random, hostile, now);
                self.send_out(outgoing);
                self.schedule_commit();
                Ok(())
            }
            Happening::ToClient { conn, message } => self.receive(conn, message),
            Happening::Closed { client, generation, reason } => {
                self.closed(client, generation, &reason)
            }
            Happening::Left { conn } => {
                self.left(conn);
                Ok(())
            }
            Happening::Drained { client, conn } => {
                self.drained(client, conn);
                Ok(())
            }
            Happening::Commit { epoch } => {
                if epoch == self.epoch {
                    self.commit_scheduled = false;
                    let outgoing = self.server.commit(self.time());
                    self.send_out(outgoing);
                }
                Ok(())
            }
            Happening::CompareHeads => {
                let outgoing = self.server.compare_heads();
                self.send_out(outgoing);
                self.after(COMPARE_MS, Happening::CompareHeads);
                Ok(())
            }
            Happening::Alarm { client } => {
                self.clients[client].alarm = None;
                self.drive(client, |session, now| session.handle_timeout(now))
            }
            Happening::Start { client } => {
                if self.clients[client].session.is_none() && !self.clients[client].kicked {
                    let seed = self.random.next();
                    self.clients[client].start(seed);
                }
                self.drive(client, |_, _| {})
            }
            Happening::ServerUp => {
                self.server_up = true;
                Ok(())
            }
            Happening::Mischief => self.mischief(),
        }
    }

    /// Hands something to a client's session and carries out what it wants.
    fn drive(
        &mut self,
        client: ClientId,
        input: impl FnOnce(&mut skein_core::sync::Session, Timestamp),
    ) -> Result<(), String> {
        let now = self.time();
        let Some(session) = self.clients[client].session.as_mut() else { return Ok(()) };
        input(session, now);
        // A process can be killed between any two effects.
        let mut lives_for = if self.hostile() && self.random.one_in(400) {
            self.random.within(0..4)
        } else {
            u64::MAX
        };
        loop {
            let Some(session) = self.clients[client].session.as_mut() else { return Ok(()) };
            let Some(effect) = session.poll_effect() else { break };
            if lives_for == 0 {
                self.kill_client(client);
                return Ok(());
            }
            lives_for -= 1;
            self.carry_out(client, effect)?;
        }
        self.set_alarm(client);
        Ok(())
    }

    fn carry_out(&mut self, id: ClientId, effect: Effect) -> Result<(), String> {
        let client = &mut self.clients[id];
        if self.verbose {
            println!("{:>8}   client {id}: {effect:?}", self.now);
        }
        match effect {
            Effect::Dial { .. } => {
                let generation = self.dial(id)?;
                self.clients[id].generation = generation;
            }
            Effect::DialBeside { .. } => {
                let generation = self.dial(id)?;
                self.clients[id].beside = Some(Beside { generation, conn: None });
            }
            Effect::SendHelloBeside { .. } => {
                let conn = client.beside.and_then(|beside| beside.conn);
                self.request_over(conn, Request::Hello);
            }
            Effect::Switch => self.switch(id),
            Effect::HangupBeside => self.hang_up_beside(id),
            Effect::Listen => self.listen(id),
            // Packets find their way here, so a probe learns nothing that a look does not.
            Effect::Move => self.counts.changed_networks += 1,
            Effect::Probe => self.counts.probes += 1,
            Effect::SendHello { .. } => self.request(id, Request::Hello),
            Effect::SendDraft(draft) => {
                self.request(id, Request::Append(draft));
            }
            Effect::ReadLog { log, after, limit } => {
                self.request(id, Request::Read { log, after, limit });
            }
            Effect::Store { log, entry } => {
                Checker::stored(&self.server, client, log, &entry)?;
                client.disk.logs.entry(log).or_default().push(entry);
            }
            Effect::Acked { id: draft, conversation, seq } => {
                self.counts.acked += 1;
                client.disk.outbox.retain(|other| other.id != draft);
                self.checker.acked(&self.server, draft, conversation, seq)?;
            }
            Effect::Rejected { id: draft, .. } => {
                self.counts.rejected += 1;
                client.disk.outbox.retain(|other| other.id != draft);
                self.checker.rejected(draft);
            }
            Effect::Hangup => self.cut(id, None),
            Effect::Stopped(_) => client.kicked = true,
            Effect::Lost(_) => self.counts.lost += 1,
            Effect::StateChanged => {}
        }
        Ok(())
    }

    fn set_alarm(&mut self, client: ClientId) {
        let now = self.time();
        let Some(session) = self.clients[client].session.as_ref() else { return };
        let Some(due) = session.poll_timeout(now) else { return };
        let at = due.0.max(self.now + 1);
        if self.clients[client].alarm.is_none_or(|alarm| at < alarm) {
            self.clients[client].alarm = Some(at);
            self.after(at - self.now, Happening::Alarm { client });
        }
    }

    fn request(&mut self, client: ClientId, request: Request) {
        self.request_over(self.clients[client].conn, request);
    }

    fn request_over(&mut self, conn: Option<ConnId>, request: Request) {
        let Some(conn) = conn else { return };
        let delay = self.in_order(conn, true);
        self.after(delay, Happening::ToServer { conn, request });
    }

    /// The delay of a message that must not overtake the one before it.
    fn in_order(&mut self, conn: ConnId, up: bool) -> u64 {
        let arrives = self.now + self.random.within(DELAYS_MS);
        let last = self.arrivals.entry((conn, up)).or_default();
        *last = arrives.max(*last);
        *last - self.now
    }

    fn send_out(&mut self, outgoing: Vec<Outgoing>) {
        for Outgoing { conn, message } in outgoing {
            let hint = matches!(message, ToClient::Event { .. });
            if hint && self.hostile() && self.random.one_in(12) {
                self.counts.dropped_hints += 1;
                self.server.lose_hint(conn);
                continue;
            }
            if matches!(message, ToClient::Busy { .. }) {
                self.counts.refused_for_now += 1;
            }
            // Events take any way they like through the bus; replies keep the order of the stream.
            let delay =
                if hint { self.random.within(DELAYS_MS) } else { self.in_order(conn, false) };
            self.after(delay, Happening::ToClient { conn, message });
        }
    }

    fn schedule_commit(&mut self) {
        if self.server.has_batch() && !self.commit_scheduled {
            self.commit_scheduled = true;
            let delay = Server::commit_delay(&mut self.random);
            let epoch = self.epoch;
            self.after(delay, Happening::Commit { epoch });
        }
    }
}
