-- What a user missed: the keys of messages, and what the file can no longer answer for.

-- Rows of earlier versions have none of these.
ALTER TABLE deliveries ADD COLUMN run INTEGER;          -- of the writer: runs.id
ALTER TABLE deliveries ADD COLUMN message_key INTEGER;  -- of the message, unique in its run
-- Of 'dropped': sockets that had taken the message. It is lost when as many rows have its key.
ALTER TABLE deliveries ADD COLUMN taken INTEGER;

CREATE INDEX deliveries_missed ON deliveries (to_user, at, message_key) WHERE outcome <> 'pushed';

-- One row. "Deleted" is what age, size or a prune without a user deletes: a prune that names a user
-- leaves no trace.
CREATE TABLE coverage (
  one            INTEGER PRIMARY KEY CHECK (one = 1),
  file           INTEGER NOT NULL,  -- random; tells this file from another of the same name
  last_id        INTEGER NOT NULL,  -- the highest id that a row ever had
  complete_since INTEGER NOT NULL,  -- ms since 1970: no row of a later message was deleted
  deleted_id     INTEGER NOT NULL   -- the highest id of a deleted row
) STRICT;

-- Earlier versions did not record what was lost on all sockets, so an older file is complete from
-- now on only.
INSERT INTO coverage
SELECT 1, abs(random() % 1000000000000), ifnull(max(id), 0),
       CASE WHEN max(id) IS NULL AND NOT EXISTS (SELECT 1 FROM runs) THEN 0
            ELSE CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) END,
       0
FROM deliveries;
