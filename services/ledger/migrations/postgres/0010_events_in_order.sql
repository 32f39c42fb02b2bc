-- What becomes of one account is told in the order in which it was written, by one coordinator: that of the account's slot, also
-- where deletions of it that follow each other lie in different ones. `seq` is that order: whatever happens to an account
-- later is written after what came before has been committed.
ALTER TABLE outbox
    ADD COLUMN seq bigint,
    DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (deletion, state);

-- Before everything that will be written.
UPDATE outbox o
SET seq = n.place - (SELECT count(*) FROM outbox), slot = get_byte(sha256(convert_to(d.account, 'UTF8')), 0) % 64
FROM (SELECT deletion, state, row_number() OVER (ORDER BY at, deletion, state) AS place FROM outbox) n, deletion d
WHERE (n.deletion, n.state) = (o.deletion, o.state) AND d.id = o.deletion;

ALTER TABLE outbox ALTER COLUMN seq SET NOT NULL;
ALTER TABLE outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY;

-- Until `due_at` a receiver is not asked again to take an event that it did not take; `tries` says how often it was. One that it
-- will never take is kept for a while from `refused_at` on.
ALTER TABLE event
    ADD COLUMN seq        bigint,
    ADD COLUMN account    text,
    ADD COLUMN due_at     bigint,
    ADD COLUMN tries      integer NOT NULL DEFAULT 0,
    ADD COLUMN refused_at bigint;

-- Before everything that will be written.
UPDATE event e
SET seq = n.place - (SELECT count(*) FROM event), due_at = e.at, account = d.account,
    slot = get_byte(sha256(convert_to(d.account, 'UTF8')), 0) % 64,
    refused_at = CASE WHEN e.refused IS NOT NULL THEN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint END
FROM (SELECT receiver, deletion, kind, row_number() OVER (ORDER BY at, deletion, kind) AS place FROM event) n, deletion d
WHERE (n.receiver, n.deletion, n.kind) = (e.receiver, e.deletion, e.kind) AND d.id = e.deletion;

ALTER TABLE event
    ALTER COLUMN seq SET NOT NULL,
    ALTER COLUMN account SET NOT NULL,
    ALTER COLUMN due_at SET NOT NULL;

DROP INDEX event_waiting;
CREATE INDEX event_due ON event (receiver, due_at, seq) WHERE refused IS NULL;
CREATE INDEX event_of_account ON event (receiver, account, seq) WHERE refused IS NULL;
CREATE INDEX event_refused ON event (receiver, seq) WHERE refused IS NOT NULL;
