-- A deletion may be told of more than once: when its account is sealed, and when it ends.
ALTER TABLE outbox RENAME TO outbox_of_ends;

CREATE TABLE outbox (
    slot     integer NOT NULL,
    deletion blob    NOT NULL,
    state    integer NOT NULL,
    at       integer NOT NULL,
    PRIMARY KEY (slot, deletion, state)
) STRICT, WITHOUT ROWID;

INSERT INTO outbox (slot, deletion, state, at) SELECT slot, deletion, state, at FROM outbox_of_ends;
DROP TABLE outbox_of_ends;

-- What a receiver is still to be told, until it says that it has it. `refused` is its word for not taking it, ever.
CREATE TABLE event (
    receiver text    NOT NULL,
    deletion blob    NOT NULL,
    kind     integer NOT NULL,
    slot     integer NOT NULL,
    at       integer NOT NULL,
    refused  text,
    PRIMARY KEY (receiver, deletion, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_waiting ON event (receiver, at, deletion, kind) WHERE refused IS NULL;
