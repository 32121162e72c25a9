-- Files that can be taken while they come. The rules of V1 hold. Purely an addition: an older server
-- leaves the columns empty, and nobody hears of what is sent through it before it is complete.
--
-- For which conversation an upload is meant, and what its file is going to be called there; null
-- where its account has not said. Members may take the bytes before there is an entry that refers
-- to the blob. Both stay once it is complete.
--
-- Whoever has very many uploads adds the columns and builds the index by hand before this.
ALTER TABLE uploads ADD COLUMN IF NOT EXISTS conversation BIGINT REFERENCES conversations (id);
ALTER TABLE uploads ADD COLUMN IF NOT EXISTS name TEXT;
CREATE INDEX IF NOT EXISTS uploads_coming ON uploads (conversation)
    WHERE conversation IS NOT NULL AND state <> 2;
