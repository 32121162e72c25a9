//! The tables. A change adds a step at the end; steps that were released never change.

use rusqlite::{Connection, TransactionBehavior};

/// Each step brings the schema from the version of its index to the next.
const STEPS: &[&str] = &[
    "
    -- Who is logged in where, and with which device: a few named values.
    CREATE TABLE settings (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Drafts that the server has neither acknowledged nor refused, in the order of writing.
    CREATE TABLE drafts (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id       BLOB NOT NULL UNIQUE,
        -- skein.v1.Draft
        draft    BLOB NOT NULL
    ) STRICT;

    -- How far each log is here: all entries after `floor` up to `cursor`. Log 0 is the
    -- personal log.
    CREATE TABLE logs (
        log    INTEGER PRIMARY KEY,
        floor  INTEGER NOT NULL,
        cursor INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE entries (
        log    INTEGER NOT NULL,
        seq    INTEGER NOT NULL,
        id     BLOB NOT NULL,
        author INTEGER NOT NULL,
        at_ms  INTEGER NOT NULL,
        -- skein.v1.Body
        body   BLOB NOT NULL,
        PRIMARY KEY (log, seq)
    ) STRICT, WITHOUT ROWID;

    -- The other side of each direct conversation. `key` is the name in the form for comparing.
    CREATE TABLE peers (
        account      INTEGER PRIMARY KEY,
        name         TEXT NOT NULL,
        key          TEXT NOT NULL,
        conversation INTEGER
    ) STRICT;
    CREATE INDEX peers_by_key ON peers (key);

    -- Files on their way up. The same file to the same conversation continues with the same ids.
    CREATE TABLE uploads (
        path         TEXT NOT NULL,
        conversation INTEGER NOT NULL,
        size         INTEGER NOT NULL,
        mtime_ns     INTEGER NOT NULL,
        hash         BLOB NOT NULL,
        media_type   TEXT NOT NULL,
        upload       BLOB NOT NULL,
        entry        BLOB NOT NULL,
        PRIMARY KEY (path, conversation)
    ) STRICT, WITHOUT ROWID;

    -- Of which blob the bytes in a partial file are.
    CREATE TABLE downloads (
        path      TEXT PRIMARY KEY,
        blob      BLOB NOT NULL,
        thumbnail INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Drafts that the server has refused for good, until their author was told.
    CREATE TABLE rejected (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id       BLOB NOT NULL UNIQUE,
        -- skein.v1.Draft
        draft    BLOB NOT NULL,
        -- The other side's name, if it was known.
        peer     TEXT,
        -- The code's number, and the server's sentence.
        code     INTEGER NOT NULL,
        message  TEXT NOT NULL
    ) STRICT;
",
    "
    -- Files that are to be sent and fetched by whatever process is connected.
    CREATE TABLE transfers (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        -- 1 up, 2 down
        direction    INTEGER NOT NULL,
        -- The file that is sent, or where the one goes that is fetched: absolute.
        path         TEXT NOT NULL,
        size         INTEGER NOT NULL,
        -- Up: where it is to be shown, the file's time, and the ids of upload and message.
        conversation INTEGER,
        mtime_ns     INTEGER,
        upload       BLOB,
        entry        BLOB,
        -- Down: the attachment.
        blob         BLOB,
        name         TEXT,
        media_type   TEXT,
        hash         BLOB,
        thumbnail    INTEGER NOT NULL DEFAULT 0,
        overwrite    INTEGER NOT NULL DEFAULT 0,
        -- skein_core::transfer::TransferState
        state        INTEGER NOT NULL DEFAULT 1,
        done         INTEGER NOT NULL DEFAULT 0,
        resent       INTEGER NOT NULL DEFAULT 0,
        -- Why it failed.
        code         TEXT,
        message      TEXT,
        -- The server is to be told that nobody wants the upload any more.
        discard      INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX transfers_by_state ON transfers (state);
    CREATE INDEX transfers_by_entry ON transfers (entry);
",
];

/// Brings the database up to date.
pub(super) fn migrate(database: &mut Connection) -> Result<(), rusqlite::Error> {
    // Another process may be doing the same: whoever comes second finds it done.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: usize = transaction
        .query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
        .map(|version| version as usize)?;
    for step in STEPS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    if version < STEPS.len() {
        transaction.pragma_update(None, "user_version", STEPS.len() as u32)?;
    }
    transaction.commit()
}
