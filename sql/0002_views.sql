-- For people with a sqlite3 prompt.

-- Every row, with local time, newest first.
CREATE VIEW audit AS
SELECT id,
       strftime('%Y-%m-%d %H:%M:%S', at / 1000, 'unixepoch', 'localtime') AS local_time,
       from_user, to_user, outcome, reached, bytes, message_id, group_name, node, lost,
       strftime('%Y-%m-%d %H:%M:%S', lost_until / 1000, 'unixepoch', 'localtime') AS lost_until
FROM deliveries
ORDER BY at DESC, deliveries.id DESC;

-- Who missed how much on which day (local time), and from how many people.
CREATE VIEW undelivered_by_user_and_day AS
SELECT to_user,
       date(at / 1000, 'unixepoch', 'localtime') AS day,
       count(*) AS undelivered,
       count(DISTINCT from_user) AS senders
FROM deliveries
WHERE outcome <> 'pushed' AND outcome = 'undelivered'
GROUP BY to_user, day
ORDER BY day DESC, undelivered DESC, to_user;

-- The pairs that miss each other most: messages written while the other was not in the
-- conversation, and how many of them reached nobody at all, each way.
CREATE VIEW pairs_that_miss_each_other AS
SELECT group_name,
       count(*) AS missed,
       sum(outcome = 'undelivered') AS undelivered,
       sum(from_user || '_' || to_user = group_name) AS missed_by_second,
       sum(to_user || '_' || from_user = group_name) AS missed_by_first
FROM deliveries
WHERE group_name IS NOT NULL AND outcome IN ('pushed', 'undelivered')
GROUP BY group_name
ORDER BY missed DESC, group_name;

-- Where the audit is not whole.
CREATE VIEW gaps AS
SELECT id, node,
       strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch', 'localtime') AS since,
       strftime('%Y-%m-%d %H:%M:%f', lost_until / 1000.0, 'unixepoch', 'localtime') AS until,
       lost
FROM deliveries
WHERE outcome <> 'pushed' AND outcome = 'gap'
ORDER BY at;
