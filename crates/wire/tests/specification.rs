//! Holds `proto/README.md` to the code where that can be counted: every error, every close code and
//! every limit stands in its tables with its number, and every message of the schema is named.

use std::{fs, path::PathBuf};

use skein_core::{limit, refusal::Code};
use skein_wire::{
    close::CloseCode,
    frame::{FRAME_BYTES_MAX, SERVER_FRAME_BYTES_MAX},
};

/// The cells of the rows in the table under this heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = specification();
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let rows = section.unwrap_or_else(|| panic!("there is no section {heading}")).lines();
    rows.filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn specification() -> String {
    fs::read_to_string(proto().join("README.md")).expect("the specification is in the repository")
}

fn proto() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

#[test]
fn every_error_has_its_row() {
    let rows = table("Errors");
    assert_eq!(rows.len(), Code::ALL.len());
    for (code, row) in Code::ALL.iter().zip(rows) {
        assert_eq!(row[0], (*code as u32).to_string(), "{code}");
        assert_eq!(row[1], format!("`{code}`"));
        assert!(row[2].len() > 5, "{code} has no meaning");
        assert_eq!(row[3] == "later", code.is_transient(), "{code}");
    }
}

#[test]
fn every_close_code_has_its_row() {
    let rows = table("Close codes");
    assert_eq!(rows.len(), CloseCode::ALL.len());
    for (code, row) in CloseCode::ALL.iter().zip(rows) {
        assert_eq!(row[0], (*code as u32).to_string(), "{code}");
        assert_eq!(row[1], format!("`{code}`"));
        assert!(row[2].len() > 5 && row[3].len() > 5, "{code}: what does a client do?");
    }
}

#[test]
fn every_limit_has_its_row() {
    let limits: [(&str, u64); 19] = [
        ("bytes of a client's frame", FRAME_BYTES_MAX as u64),
        ("bytes of a server's frame", SERVER_FRAME_BYTES_MAX as u64),
        ("bytes of a text", limit::TEXT_BYTES_MAX as u64),
        ("bytes of a greeting or remark", limit::NOTE_BYTES_MAX as u64),
        ("characters of an account name", limit::NAME_CHARS_MAX as u64),
        ("bytes of a file name", limit::FILE_NAME_BYTES_MAX as u64),
        ("bytes of a media type", limit::MEDIA_TYPE_BYTES_MAX as u64),
        ("entries of a page", limit::PAGE_ENTRIES_MAX as u64),
        ("bytes of the entries of a page", limit::PAGE_BYTES_MAX as u64),
        ("results of a search", limit::SEARCH_RESULTS_MAX as u64),
        ("contacts of an account", limit::CONTACTS_MAX as u64),
        ("requests that wait for one account's answer", limit::PENDING_REQUESTS_MAX as u64),
        ("cursors of a hello", limit::CURSORS_MAX as u64),
        ("appends without a reply", limit::APPENDS_IN_FLIGHT_MAX as u64),
        ("bytes of an upload ahead of received", limit::UPLOAD_AHEAD_BYTES_MAX),
        ("coming files that are listed", limit::COMING_MAX as u64),
        ("coming files that an account takes at a time", limit::FOLLOWED_MAX as u64),
        (
            "seconds for which a followed upload may stand still",
            limit::FOLLOW_IDLE_TIMEOUT.as_secs(),
        ),
        ("pixels of a thumbnail's longer edge", u64::from(limit::THUMBNAIL_EDGE_PX)),
    ];
    let rows = table("Limits");
    assert_eq!(rows.len(), limits.len());
    for ((name, value), row) in limits.into_iter().zip(rows) {
        assert_eq!(row[0], name);
        assert_eq!(row[1].replace(',', ""), value.to_string(), "{name}");
    }
}

#[test]
fn every_message_is_named() {
    // Parts of messages that their whole explains.
    let parts = ["Body", "Conversation", "Cursor", "DownloadHeader", "Profile", "Contact"];
    let more = ["ContactRequest", "UploadReady", "UploadProgress", "UploadComplete"];
    let text = specification();
    for file in ["entry", "error", "session", "stream", "transfer"] {
        let path = proto().join(format!("skein/v1/{file}.proto"));
        let schema = fs::read_to_string(path).expect("the schema is in the repository");
        for line in schema.lines().filter_map(|line| line.strip_prefix("message ")) {
            let name = line.split([' ', '{']).next().expect("a name");
            let named = text.contains(&format!("`{name}`")) || text.contains(&format!("`{name}."));
            assert!(named || parts.contains(&name) || more.contains(&name), "{name} is not named");
        }
    }
}
