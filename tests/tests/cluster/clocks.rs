//! Two nodes whose clocks are an hour apart.

use std::{collections::HashMap, time::Duration};

use rand::random;
use skein_core::{id::LogId, time::Timestamp};
use skein_testkit::{
    gate::{Login, befriend},
    raw::RawSession,
};
use skein_wire::pb::{self, reply, request};

use crate::{AHEAD, scene::Scene};

/// Logins until the gate has named every node.
const LOGINS_MAX: usize = 100;
/// Sessions that are kept at other nodes meanwhile.
const WEIGHTS_MAX: usize = 12;
/// How long to wait between two logins; a node reports each few seconds.
const REPORTS_SOON: Duration = Duration::from_millis(200);
/// Messages that each node appends.
const MESSAGES: usize = 20;

/// Members of one conversation at two such nodes write in turn: one order, no gap, and both hear
/// everything.
pub(crate) async fn an_hour_between_two_nodes_changes_nothing(scene: &Scene) {
    let ahead = scene.cluster.address(AHEAD, "quic");
    for name in ["fast", "right"] {
        scene.register(name).await;
    }
    let fast = login_at(scene, "fast", |address| address == ahead).await;
    let right = login_at(scene, "right", |address| address != ahead).await;
    let mut fast = RawSession::open(&fast).await.expect("welcome");
    let mut right = RawSession::open(&right).await.expect("welcome");
    let conversation = befriend(&mut fast, &mut right).await;
    let mut acknowledged = HashMap::new();
    for number in 0..MESSAGES {
        for (who, session) in [("fast", &mut fast), ("right", &mut right)] {
            let text = format!("{who} {number}");
            let seq = append(session, conversation, &text).await;
            assert!(acknowledged.insert(seq, text).is_none(), "a place is taken once");
        }
    }
    for session in [&mut fast, &mut right] {
        let log = LogId::Conversation(skein_core::id::ConversationId(conversation));
        let read =
            pb::ReadLog { log: skein_wire::entry::log_number(log), after: 0, before: 0, limit: 0 };
        let answer = session.request(request::Kind::ReadLog(read)).await;
        let reply::Kind::Page(page) = answer else { panic!("{answer:?}") };
        let seqs: Vec<_> = page.entries.iter().map(|entry| entry.seq).collect();
        let dense: Vec<_> = (1..=2 * MESSAGES as u64).collect();
        assert_eq!(seqs, dense, "one order, dense");
        for entry in &page.entries {
            assert_eq!(acknowledged.get(&entry.seq).map(String::as_str), words(entry));
        }
        let times = page.entries.iter().map(|entry| Timestamp(entry.at_ms));
        let (first, last) = (times.clone().min(), times.max());
        println!("times in the log reach from {first:?} to {last:?}");
    }
}

async fn append(session: &mut RawSession, conversation: u64, text: &str) -> u64 {
    let id: [u8; 16] = random();
    let content = pb::draft::Content::Text(pb::Text { text: text.to_owned() });
    let draft = pb::Draft { conversation, id: id.to_vec().into(), content: Some(content) };
    match session.request(request::Kind::Append(draft)).await {
        reply::Kind::Appended(appended) => appended.seq,
        other => panic!("{other:?}"),
    }
}

fn words(entry: &pb::Entry) -> Option<&str> {
    match entry.body.as_ref()?.kind.as_ref()? {
        pb::body::Kind::Text(text) => Some(&text.text),
        _ => None,
    }
}

/// Logs in until the gate names a node that is wanted. Sessions stay at those that are not, so that
/// they are loaded the more and the wanted one is soon the better choice.
async fn login_at(scene: &Scene, name: &str, wanted: impl Fn(&str) -> bool) -> Login {
    let mut weights = Vec::new();
    for number in 0..LOGINS_MAX {
        let login = scene.gate.login(name).await;
        if wanted(&login.chat.address) {
            return login;
        }
        if weights.len() < WEIGHTS_MAX {
            // Of an account of its own: the next login of the same one would end its session.
            let weight = format!("weight{number}{name}");
            scene.register(&weight).await;
            let login = scene.gate.login(&weight).await;
            if !wanted(&login.chat.address) {
                weights.push(RawSession::open(&login).await.expect("welcome"));
            }
        }
        // The next choice may go by the nodes' next reports.
        tokio::time::sleep(REPORTS_SOON).await;
    }
    panic!("{LOGINS_MAX} logins were all sent to other nodes");
}
