-- Files that can be taken while they come. The rules of V1 hold. Purely an addition: an older server
-- leaves the columns empty, and nobody hears of what is sent through it before it is complete.
--
-- For which conversation an upload is meant, and what its file is going to be called there; null
-- where its account has not said. Members may take the bytes before there is an entry that refers
-- to the blob. Both stay once it is complete.
ALTER TABLE uploads ADD COLUMN conversation INTEGER REFERENCES conversations (id);
ALTER TABLE uploads ADD COLUMN name         TEXT;
CREATE INDEX uploads_coming ON uploads (conversation) WHERE conversation IS NOT NULL AND state <> 2;
