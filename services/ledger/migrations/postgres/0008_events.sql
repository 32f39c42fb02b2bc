-- A deletion may be told of more than once: when its account is sealed, and when it ends.
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (slot, deletion, state);

-- What a receiver is still to be told, until it says that it has it. `refused` is its word for not taking it, ever.
CREATE TABLE event (
    receiver text     NOT NULL,
    deletion uuid     NOT NULL,
    kind     smallint NOT NULL,
    slot     smallint NOT NULL,
    at       bigint   NOT NULL,
    refused  text,
    PRIMARY KEY (receiver, deletion, kind)
);

CREATE INDEX event_waiting ON event (receiver, at, deletion, kind) WHERE refused IS NULL;
