-- The first schema. Numbers, formats and names in here are persisted: they are stable.
--
-- Times are milliseconds since the Unix epoch (`*_ms`). Random ids are BLOBs of 16 bytes, hashes
-- BLOBs of 32. Accounts and conversations are numbered from 1, and AUTOINCREMENT keeps a number
-- from being used again after its owner is gone.

-- Which store this is: an id drawn when it is made, so that clients notice that they talk to another
-- one at the same address.
CREATE TABLE instance (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id  BLOB    NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO instance (one, id) VALUES (1, randomblob(16));

-- Who is registered. The `*_key` columns hold the form in which names and addresses are compared
-- (lower case), so that they are unique without regard to case and a search by prefix is a range.
-- `storage_bytes` is what the account's rows in `uploads` count against its quota, `open_uploads`
-- how many of them are receiving: both change in the transaction that changes those rows, so that
-- opening an upload reads one row and not all of them.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE,
    email         TEXT    NOT NULL,
    email_key     TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    created_ms    INTEGER NOT NULL,
    storage_bytes INTEGER NOT NULL DEFAULT 0 CHECK (storage_bytes >= 0),
    open_uploads  INTEGER NOT NULL DEFAULT 0 CHECK (open_uploads >= 0)
) STRICT;

-- Proofs of login. Only the hash of a token is kept; one a device.
CREATE TABLE tokens (
    hash        BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    account     INTEGER NOT NULL REFERENCES accounts (id),
    device      BLOB    NOT NULL CHECK (length(device) = 16),
    device_name TEXT    NOT NULL,
    issued_ms   INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    UNIQUE (account, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_expiry ON tokens (expires_ms);

-- Every conversation. kind: 1 direct.
CREATE TABLE conversations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- The direct conversation of a pair, lower account first, so that a pair has one at most.
CREATE TABLE direct_conversations (
    low          INTEGER NOT NULL REFERENCES accounts (id),
    high         INTEGER NOT NULL REFERENCES accounts (id),
    conversation INTEGER NOT NULL UNIQUE REFERENCES conversations (id),
    PRIMARY KEY (low, high),
    CHECK (low < high)
) STRICT, WITHOUT ROWID;

-- Who belongs to a conversation. state: 1 active (may speak), 2 dormant (may only read).
CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    account      INTEGER NOT NULL REFERENCES accounts (id),
    state        INTEGER NOT NULL,
    PRIMARY KEY (conversation, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account, conversation);

-- Who is a contact of whom: two rows a pair, because each side keeps its own remark.
CREATE TABLE contacts (
    owner        INTEGER NOT NULL REFERENCES accounts (id),
    peer         INTEGER NOT NULL REFERENCES accounts (id),
    remark       TEXT    NOT NULL,
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    since_ms     INTEGER NOT NULL,
    PRIMARY KEY (owner, peer)
) STRICT, WITHOUT ROWID;

-- Contact requests that wait for an answer.
CREATE TABLE contact_requests (
    asked    INTEGER NOT NULL REFERENCES accounts (id),
    asker    INTEGER NOT NULL REFERENCES accounts (id),
    greeting TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (asked, asker)
) STRICT, WITHOUT ROWID;
CREATE INDEX contact_requests_by_asker ON contact_requests (asker, asked);

-- Contact steps that were done, by the id that the client gave them, so that a retry is
-- recognised. The digest is a BLAKE3 of what the step was.
CREATE TABLE contact_steps (
    actor  INTEGER NOT NULL REFERENCES accounts (id),
    id     BLOB    NOT NULL CHECK (length(id) = 16),
    digest BLOB    NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (actor, id)
) STRICT, WITHOUT ROWID;

-- The last seq of each log that has an entry. kind: 1 personal (log is the account's id),
-- 2 conversation (log is the conversation's id).
CREATE TABLE logs (
    kind INTEGER NOT NULL,
    log  INTEGER NOT NULL,
    head INTEGER NOT NULL CHECK (head > 0),
    PRIMARY KEY (kind, log)
) STRICT, WITHOUT ROWID;

-- The entries of all logs: kind and log as in `logs`, seq dense from 1. The body is the protobuf
-- message skein.v1.Body. Clustered by log, because logs are read in order.
CREATE TABLE entries (
    kind   INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL CHECK (seq > 0),
    id     BLOB    NOT NULL CHECK (length(id) = 16),
    author INTEGER NOT NULL REFERENCES accounts (id),
    at_ms  INTEGER NOT NULL,
    body   BLOB    NOT NULL,
    PRIMARY KEY (kind, log, seq)
) STRICT, WITHOUT ROWID;

-- Drafts that became entries of conversations, by the id that their author gave them, so that a
-- retry is recognised. The digest is a BLAKE3 of the protobuf message skein.v1.Draft.
CREATE TABLE drafts (
    author       INTEGER NOT NULL REFERENCES accounts (id),
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    digest       BLOB    NOT NULL CHECK (length(digest) = 32),
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    seq          INTEGER NOT NULL,
    PRIMARY KEY (author, id)
) STRICT, WITHOUT ROWID;

-- Uploads by the id that the client gave them. state: 1 receiving, 2 complete; a complete one
-- stays as long as its blob, so that a retry of its last step finds it. The hash state is in the
-- form of the crate `blob`, and empty once complete.
CREATE TABLE uploads (
    account    INTEGER NOT NULL REFERENCES accounts (id),
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    blob       BLOB    NOT NULL UNIQUE CHECK (length(blob) = 16),
    size       INTEGER NOT NULL,
    media_type TEXT    NOT NULL,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    state      INTEGER NOT NULL,
    durable    INTEGER NOT NULL CHECK (durable BETWEEN 0 AND size),
    hash_state BLOB    NOT NULL,
    touched_ms INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_receiving ON uploads (touched_ms) WHERE state = 1;

-- Complete and verified blobs. thumbnail: 0 none, 1 pending, 2 ready, 3 failed; `tries` counts how
-- often a pending one was begun. `refs` counts the rows of blob_refs, so that the collector finds
-- its work without reading the whole table.
CREATE TABLE blobs (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    uploader     INTEGER NOT NULL REFERENCES accounts (id),
    size         INTEGER NOT NULL,
    media_type   TEXT    NOT NULL,
    hash         BLOB    NOT NULL CHECK (length(hash) = 32),
    width        INTEGER,
    height       INTEGER,
    thumbnail    INTEGER NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    completed_ms INTEGER NOT NULL,
    refs         INTEGER NOT NULL DEFAULT 0 CHECK (refs >= 0),
    CHECK ((width IS NULL) = (height IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_unreferenced ON blobs (completed_ms) WHERE refs = 0;
CREATE INDEX blobs_without_thumbnail ON blobs (completed_ms) WHERE thumbnail = 1;

-- Which conversation entries refer to a blob: members of the conversation may read it, and it is
-- not collected.
CREATE TABLE blob_refs (
    blob         BLOB    NOT NULL REFERENCES blobs (id),
    conversation INTEGER NOT NULL REFERENCES conversations (id),
    seq          INTEGER NOT NULL,
    PRIMARY KEY (blob, conversation, seq)
) STRICT, WITHOUT ROWID;
