//! What the lease `node/<name>` says: JSON, read by nodes of other versions, hence stable. A reader
//! passes over fields that it does not know and over versions other than its own.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use skein_core::port::directory::{ChatNode, NodeReport, Term, Trust};

/// The layout that this version writes and reads.
const RECORD_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    /// The layout.
    v: u32,
    name: String,
    address: String,
    /// The name in a certificate that an authority signed; else there are fingerprints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    /// SHA-256 of certificates, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fingerprints: Vec<String>,
    sessions: u64,
    sessions_max: u64,
    draining: bool,
    /// Absent in what earlier versions wrote, as are the next two.
    #[serde(default)]
    memory_bytes: u64,
    #[serde(default)]
    cpu_permille: u32,
    /// The epoch of this lease, by which its next holder can release it. Absent for the moment
    /// between taking the lease, which draws it, and renewing it for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    /// The term that this one followed, which its node had lost. Only until the node reports under
    /// the new one: it may never have heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<u64>,
}

/// A node as its lease tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) report: NodeReport,
    pub(crate) term: Option<Term>,
    pub(crate) follows: Option<Term>,
}

/// The stored form of a report.
pub(crate) fn encode(report: &NodeReport, term: Option<Term>, follows: Option<Term>) -> Vec<u8> {
    let (server_name, fingerprints) = match &report.node.trust {
        Trust::Authority { server_name } => (Some(server_name.clone()), Vec::new()),
        Trust::Fingerprints(all) => (None, all.iter().map(|one| HEXLOWER.encode(one)).collect()),
    };
    let record = Record {
        v: RECORD_VERSION,
        name: report.node.name.clone(),
        address: report.node.address.clone(),
        server_name,
        fingerprints,
        sessions: report.sessions,
        sessions_max: report.sessions_max,
        draining: report.draining,
        memory_bytes: report.memory_bytes,
        cpu_permille: report.cpu_permille,
        term: term.map(|term| term.0),
        follows: follows.map(|term| term.0),
    };
    serde_json::to_vec(&record).expect("strings, numbers and booleans are always JSON")
}

/// The report, unless this version cannot read it.
pub(crate) fn decode(bytes: &[u8]) -> Option<Known> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    if record.v != RECORD_VERSION {
        return None;
    }
    let trust = match record.server_name {
        Some(server_name) => Trust::Authority { server_name },
        None => Trust::Fingerprints(
            record.fingerprints.iter().map(|text| fingerprint(text)).collect::<Option<_>>()?,
        ),
    };
    let report = NodeReport {
        node: ChatNode { name: record.name, address: record.address, trust },
        sessions: record.sessions,
        sessions_max: record.sessions_max,
        draining: record.draining,
        memory_bytes: record.memory_bytes,
        cpu_permille: record.cpu_permille,
    };
    let (term, follows) = (record.term.map(Term), record.follows.map(Term));
    Some(Known { report, term, follows })
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(trust: Trust) -> NodeReport {
        NodeReport {
            node: ChatNode { name: "one".into(), address: "192.0.2.1:4433".into(), trust },
            sessions: 3,
            sessions_max: 100,
            draining: true,
            memory_bytes: 5,
            cpu_permille: 250,
        }
    }

    #[test]
    fn survives_its_stored_form() {
        for trust in [
            Trust::Authority { server_name: "chat.example.org".into() },
            Trust::Fingerprints(vec![[1; 32], [0xfe; 32]]),
        ] {
            for (term, follows) in
                [(None, None), (Some(Term(8)), None), (Some(Term(8)), Some(Term(5)))]
            {
                let report = report(trust.clone());
                let encoded = encode(&report, term, follows);
                assert_eq!(decode(&encoded), Some(Known { report, term, follows }));
            }
        }
    }

    #[test]
    fn the_stored_form_is_stable() {
        let stored = concat!(
            r#"{"v":1,"name":"one","address":"192.0.2.1:4433","server_name":"a","#,
            r#""sessions":3,"sessions_max":100,"draining":true,"memory_bytes":5,"#,
            r#""cpu_permille":250,"term":8}"#
        );
        let report = report(Trust::Authority { server_name: "a".into() });
        let known = Known { report: report.clone(), term: Some(Term(8)), follows: None };
        assert_eq!(encode(&report, Some(Term(8)), None), stored.as_bytes());
        let newer = stored.replace("true", "true,\"new\":1");
        assert_eq!(decode(newer.as_bytes()), Some(known));
        for unreadable in [&*stored.replace("\"v\":1", "\"v\":2"), "", "{}"] {
            assert_eq!(decode(unreadable.as_bytes()), None, "{unreadable}");
        }
        let bad = stored.replace(r#""server_name":"a""#, r#""fingerprints":["00"]"#);
        assert_eq!(decode(bad.as_bytes()), None);
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let stored = concat!(
            r#"{"v":1,"name":"one","address":"192.0.2.1:4433","server_name":"a","#,
            r#""sessions":3,"sessions_max":100,"draining":true}"#
        );
        let known = decode(stored.as_bytes()).expect("readable");
        assert_eq!((known.report.memory_bytes, known.report.cpu_permille), (0, 0));
        assert_eq!(known.term, None);
    }
}
