-- What becomes of one account is told in the order in which it was written, by one coordinator: that of the account's slot, also
-- where deletions of it that follow each other lie in different ones. `seq` is that order: whatever happens to an account
-- later is written after what came before has been committed.
ALTER TABLE outbox RENAME TO outbox_without_order;

CREATE TABLE outbox (
    seq      integer PRIMARY KEY AUTOINCREMENT,
    slot     integer NOT NULL,
    deletion blob    NOT NULL,
    state    integer NOT NULL,
    at       integer NOT NULL,
    UNIQUE (deletion, state)
) STRICT;

INSERT INTO outbox (slot, deletion, state, at)
SELECT slot, deletion, state, at FROM outbox_without_order ORDER BY at, deletion, state;
DROP TABLE outbox_without_order;

-- Until `due_at` a receiver is not asked again to take an event that it did not take; `tries` says how often it was. One that it
-- will never take is kept for a while from `refused_at` on.
ALTER TABLE event RENAME TO event_without_order;

CREATE TABLE event (
    receiver   text    NOT NULL,
    deletion   blob    NOT NULL,
    kind       integer NOT NULL,
    slot       integer NOT NULL,
    at         integer NOT NULL,
    seq        integer NOT NULL,
    account    text    NOT NULL,
    due_at     integer NOT NULL,
    tries      integer NOT NULL DEFAULT 0,
    refused    text,
    refused_at integer,
    PRIMARY KEY (receiver, deletion, kind)
) STRICT, WITHOUT ROWID;

-- Before everything that will be written. Their slots stay: with SQLite one coordinator has all of them.
INSERT INTO event (receiver, deletion, kind, slot, at, seq, account, due_at, refused, refused_at)
SELECT e.receiver, e.deletion, e.kind, e.slot, e.at,
       row_number() OVER (ORDER BY e.at, e.deletion, e.kind) - (SELECT count(*) FROM event_without_order),
       d.account, e.at, e.refused, CASE WHEN e.refused IS NOT NULL THEN unixepoch() * 1000000 END
FROM event_without_order e JOIN deletion d ON d.id = e.deletion;
DROP TABLE event_without_order;

CREATE INDEX event_due ON event (receiver, due_at, seq) WHERE refused IS NULL;
CREATE INDEX event_of_account ON event (receiver, account, seq) WHERE refused IS NULL;
CREATE INDEX event_refused ON event (receiver, seq) WHERE refused IS NOT NULL;
