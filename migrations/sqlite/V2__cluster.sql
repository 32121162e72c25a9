-- What several nodes in front of one store need, and what operators do. The rules of V1 hold.

-- Since when an operator has disabled the account; null while it is enabled.
ALTER TABLE accounts ADD COLUMN disabled_ms INTEGER;

-- A third state. state: 1 receiving, 2 complete, 3 completing: all bytes are there and verified, and
-- the object store is making one object of them. Until it is complete, an upload counts in
-- `accounts.open_uploads`.
--
-- `opening` counts how often the upload was opened, so that an earlier opening, perhaps at a node
-- that was thought dead, changes nothing any more. `parts` is what an object store calls the parts
-- that it has, in the form of the crate `blob`; empty where there are none, and once complete.
ALTER TABLE uploads ADD COLUMN opening INTEGER NOT NULL DEFAULT 1 CHECK (opening > 0);
ALTER TABLE uploads ADD COLUMN parts   BLOB    NOT NULL DEFAULT x'';
CREATE INDEX uploads_completing ON uploads (touched_ms) WHERE state = 3;
