-- What became of the messages that were not delivered in their group. No column holds what a
-- message said.
--
-- A file here is applied once, in the order of the numbers, all of them in one transaction;
-- PRAGMA user_version is the number of the last. Never change one that was released: add one.

CREATE TABLE deliveries (
  id         INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,   -- ms since 1970, of the message; of a gap, when it began
  group_name TEXT,               -- NULL: the appliance's own notification
  from_user  TEXT,               -- NULL likewise
  to_user    TEXT,
  outcome    TEXT NOT NULL CHECK (outcome IN ('pushed', 'undelivered', 'dropped', 'gap')),
  reached    INTEGER,            -- sockets whose queue took it
  bytes      INTEGER,            -- of the message's value
  message_id TEXT,               -- as the client gave it, if it did
  node       TEXT NOT NULL,
  lost       INTEGER,            -- of a gap: rows that are missing; NULL: nobody knows how many
  lost_until INTEGER,            -- of a gap: ms since 1970, when it ended
  CHECK ((outcome = 'gap') = (to_user IS NULL)),
  CHECK ((outcome = 'gap') = (lost_until IS NOT NULL))
) STRICT;

CREATE INDEX deliveries_by_time ON deliveries (at);
CREATE INDEX deliveries_by_receiver ON deliveries (to_user, at) WHERE to_user IS NOT NULL;
CREATE INDEX deliveries_by_sender ON deliveries (from_user, at) WHERE from_user IS NOT NULL;
-- Most rows are pushed; who looks for the others should not have to pass them.
CREATE INDEX deliveries_not_pushed ON deliveries (outcome, at) WHERE outcome <> 'pushed';

-- Each time a node wrote here, from when to when: one that never ended was cut off, and what it
-- had not written yet is missing.
CREATE TABLE runs (
  id         INTEGER PRIMARY KEY,
  node       TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT;
