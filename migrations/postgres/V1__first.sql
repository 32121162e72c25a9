-- The first schema for PostgreSQL (15 or later): what V1 and V2 of SQLite's make together. Numbers,
-- formats and names in here are persisted: they are stable.
--
-- Times are milliseconds since the Unix epoch (`*_ms`). Random ids are BYTEA of 16 bytes, hashes
-- BYTEA of 32. Accounts and conversations are numbered from 1 by identity columns, which never give
-- a number twice.
--
-- Many nodes write at the same time, so every transaction locks rows in one order, and no two can
-- wait for each other: accounts, then logs by (kind, log), then uploads, then blobs by id, then
-- drafts by (author, id). Rows of `accounts` are locked FOR NO KEY UPDATE, which foreign keys to
-- them do not wait for. Tokens come after accounts; whoever changes those of many accounts passes
-- over what others have locked (SKIP LOCKED), and thus waits for nobody.

-- Which store this is: an id drawn when it is made, so that clients notice that they talk to another
-- one at the same address.
CREATE TABLE instance (
    one SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    id  BYTEA    NOT NULL CHECK (octet_length(id) = 16)
);
INSERT INTO instance (one, id) VALUES (1, uuid_send(gen_random_uuid()));

-- Who is registered. The `*_key` columns hold the form in which names and addresses are compared
-- (lower case), so that they are unique without regard to case and a search by prefix is a range;
-- they compare by bytes, whatever the database's collation. `storage_bytes` is what the account's
-- rows in `uploads` count against its quota, `open_uploads` how many of them are not complete: both
-- change in the transaction that changes those rows. `disabled_ms` says since when an operator has
-- disabled the account; null while it is enabled.
CREATE TABLE accounts (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          TEXT   NOT NULL,
    name_key      TEXT   COLLATE "C" NOT NULL UNIQUE,
    email         TEXT   NOT NULL,
    email_key     TEXT   COLLATE "C" NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL,
    storage_bytes BIGINT NOT NULL DEFAULT 0 CHECK (storage_bytes >= 0),
    open_uploads  BIGINT NOT NULL DEFAULT 0 CHECK (open_uploads >= 0),
    disabled_ms   BIGINT
) WITH (fillfactor = 80);

-- Proofs of login. Only the hash of a token is kept; one a device.
CREATE TABLE tokens (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    account     BIGINT NOT NULL REFERENCES accounts (id),
    device      BYTEA  NOT NULL CHECK (octet_length(device) = 16),
    device_name TEXT   NOT NULL,
    issued_ms   BIGINT NOT NULL,
    expires_ms  BIGINT NOT NULL,
    UNIQUE (account, device)
);
CREATE INDEX tokens_by_expiry ON tokens (expires_ms);

-- Every conversation. kind: 1 direct.
CREATE TABLE conversations (
    id         BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       SMALLINT NOT NULL,
    created_ms BIGINT   NOT NULL
);

-- The direct conversation of a pair, lower account first, so that a pair has one at most.
CREATE TABLE direct_conversations (
    low          BIGINT NOT NULL REFERENCES accounts (id),
    high         BIGINT NOT NULL REFERENCES accounts (id),
    conversation BIGINT NOT NULL UNIQUE REFERENCES conversations (id),
    PRIMARY KEY (low, high),
    CHECK (low < high)
);

-- Who belongs to a conversation. state: 1 active (may speak), 2 dormant (may only read). Changed
-- only under the lock of the conversation's row in `logs`, under which appends read it.
CREATE TABLE members (
    conversation BIGINT   NOT NULL REFERENCES conversations (id),
    account      BIGINT   NOT NULL REFERENCES accounts (id),
    state        SMALLINT NOT NULL,
    PRIMARY KEY (conversation, account)
);
CREATE INDEX members_by_account ON members (account, conversation);

-- Who is a contact of whom: two rows a pair, because each side keeps its own remark. This and
-- `contact_requests` change only under the locks of both personal logs.
CREATE TABLE contacts (
    owner        BIGINT NOT NULL REFERENCES accounts (id),
    peer         BIGINT NOT NULL REFERENCES accounts (id),
    remark       TEXT   NOT NULL,
    conversation BIGINT NOT NULL REFERENCES conversations (id),
    since_ms     BIGINT NOT NULL,
    PRIMARY KEY (owner, peer)
);

-- Contact requests that wait for an answer.
CREATE TABLE contact_requests (
    asked    BIGINT NOT NULL REFERENCES accounts (id),
    asker    BIGINT NOT NULL REFERENCES accounts (id),
    greeting TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (asked, asker)
);
CREATE INDEX contact_requests_by_asker ON contact_requests (asker, asked);

-- Contact steps that were done, by the id that the client gave them, so that a retry is
-- recognised. The digest is a BLAKE3 of what the step was.
CREATE TABLE contact_steps (
    actor  BIGINT NOT NULL REFERENCES accounts (id),
    id     BYTEA  NOT NULL CHECK (octet_length(id) = 16),
    digest BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (actor, id)
);

-- The last seq of each log, zero while it is empty. kind: 1 personal (log is the account's id),
-- 2 conversation (log is the conversation's id). A row is made together with its account or its
-- conversation, so that whoever appends has something to lock. It changes with every append: the
-- free half of each page lets that happen in place.
CREATE TABLE logs (
    kind SMALLINT NOT NULL,
    log  BIGINT   NOT NULL,
    head BIGINT   NOT NULL CHECK (head >= 0),
    PRIMARY KEY (kind, log)
) WITH (fillfactor = 50);

-- The entries of all logs: kind and log as in `logs`, seq dense from 1. The body is the protobuf
-- message skein.v1.Body. Author and log are checked by whoever appends: as foreign keys they would
-- write to the rows that they refer to, at every message.
CREATE TABLE entries (
    kind   SMALLINT NOT NULL,
    log    BIGINT   NOT NULL,
    seq    BIGINT   NOT NULL CHECK (seq > 0),
    id     BYTEA    NOT NULL CHECK (octet_length(id) = 16),
    author BIGINT   NOT NULL,
    at_ms  BIGINT   NOT NULL,
    body   BYTEA    NOT NULL,
    PRIMARY KEY (kind, log, seq)
);

-- Drafts that became entries of conversations, by the id that their author gave them, so that a
-- retry is recognised. The digest is a BLAKE3 of the protobuf message skein.v1.Draft. No foreign
-- keys, as in `entries`.
CREATE TABLE drafts (
    author       BIGINT NOT NULL,
    id           BYTEA  NOT NULL CHECK (octet_length(id) = 16),
    digest       BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    conversation BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    PRIMARY KEY (author, id)
);

-- Uploads by the id that the client gave them. state: 1 receiving; 3 completing (all bytes are there
-- and verified, and the object store is making one object of them); 2 complete, which stays as long
-- as its blob, so that a retry of its last step finds it. `opening` counts how often it was opened,
-- so that an earlier opening, perhaps at a node that was thought dead, changes nothing any more. The
-- hash state and the parts (what an object store calls them) are in forms of the crate `blob`, and
-- empty once complete.
CREATE TABLE uploads (
    account    BIGINT   NOT NULL REFERENCES accounts (id),
    id         BYTEA    NOT NULL CHECK (octet_length(id) = 16),
    blob       BYTEA    NOT NULL UNIQUE CHECK (octet_length(blob) = 16),
    size       BIGINT   NOT NULL,
    media_type TEXT     NOT NULL,
    hash       BYTEA    NOT NULL CHECK (octet_length(hash) = 32),
    state      SMALLINT NOT NULL,
    durable    BIGINT   NOT NULL CHECK (durable BETWEEN 0 AND size),
    hash_state BYTEA    NOT NULL,
    opening    BIGINT   NOT NULL DEFAULT 1 CHECK (opening > 0),
    parts      BYTEA    NOT NULL DEFAULT '',
    touched_ms BIGINT   NOT NULL,
    PRIMARY KEY (account, id)
) WITH (fillfactor = 70);
CREATE INDEX uploads_receiving ON uploads (touched_ms, account, id) WHERE state = 1;
CREATE INDEX uploads_completing ON uploads (touched_ms, account, id) WHERE state = 3;

-- Complete and verified blobs. thumbnail: 0 none, 1 pending, 2 ready, 3 failed; `tries` counts how
-- often a pending one was begun. `refs` counts the rows of blob_refs, so that the collector finds
-- its work without reading the whole table.
CREATE TABLE blobs (
    id           BYTEA    NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    uploader     BIGINT   NOT NULL REFERENCES accounts (id),
    size         BIGINT   NOT NULL,
    media_type   TEXT     NOT NULL,
    hash         BYTEA    NOT NULL CHECK (octet_length(hash) = 32),
    width        BIGINT,
    height       BIGINT,
    thumbnail    SMALLINT NOT NULL,
    tries        BIGINT   NOT NULL DEFAULT 0,
    completed_ms BIGINT   NOT NULL,
    refs         BIGINT   NOT NULL DEFAULT 0 CHECK (refs >= 0),
    CHECK ((width IS NULL) = (height IS NULL))
);
CREATE INDEX blobs_unreferenced ON blobs (completed_ms) WHERE refs = 0;
CREATE INDEX blobs_without_thumbnail ON blobs (completed_ms) WHERE thumbnail = 1;

-- Which conversation entries refer to a blob: members of the conversation may read it, and it is
-- not collected.
CREATE TABLE blob_refs (
    blob         BYTEA  NOT NULL REFERENCES blobs (id),
    conversation BIGINT NOT NULL REFERENCES conversations (id),
    seq          BIGINT NOT NULL,
    PRIMARY KEY (blob, conversation, seq)
);
