-- Times are microseconds since 1970; 128-bit digests are kept as uuid, which has no length to store.
-- No foreign keys: they cost a quarter of the throughput, and every row is written by the statement that writes its deletion.

CREATE TABLE deletion (
    id               uuid     NOT NULL PRIMARY KEY,
    request          uuid     NOT NULL,
    request_digest   uuid     NOT NULL,
    requested_at     bigint   NOT NULL,
    deadline         bigint   NOT NULL,
    done             bigint   NOT NULL,
    need             bigint   NOT NULL,
    refused          bigint   NOT NULL,
    attention_at     bigint,
    closed_at        bigint,
    expires_at       bigint,
    cooling_off_end  bigint,
    erase_at         bigint,
    end_at           bigint,
    policy_version   integer  NOT NULL,
    revision         integer  NOT NULL,
    conflicts        integer  NOT NULL,
    round            integer  NOT NULL,
    slot             smallint NOT NULL,
    state            smallint NOT NULL,
    channel          smallint NOT NULL,
    factors_required smallint NOT NULL,
    factors_verified smallint NOT NULL,
    sealed           boolean  NOT NULL,
    held             boolean  NOT NULL,
    account          text     NOT NULL,
    consents         text     NOT NULL,
    blockers         text     NOT NULL,
    traceparent      text     NOT NULL,

    CONSTRAINT deletion_state_known CHECK (state BETWEEN 1 AND 8),
    -- The gate, at its other end.
    CONSTRAINT deletion_purged_with_all CHECK (state <> 5 OR (need <> 0 AND (done & need) = need)),
    -- Nothing destructive before the point of no return, and nobody comes back from it.
    CONSTRAINT deletion_begun CHECK ((erase_at IS NULL) = (state NOT IN (3, 4, 5)))
) WITH (fillfactor = 45); -- an acknowledgement rewrites the row on its own page, without touching an index

-- Acknowledgements never change these columns.
CREATE INDEX deletion_attention ON deletion (slot, attention_at, id) WHERE attention_at IS NOT NULL;

-- An entry is made once, when the deletion ends; the live one is found through `live`.
CREATE INDEX deletion_ended ON deletion (account) WHERE state >= 5;

CREATE TABLE receipt (
    deletion       uuid     NOT NULL,
    settled_at     bigint   NOT NULL,
    fingerprint    uuid     NOT NULL,
    round          integer  NOT NULL,
    leg            smallint NOT NULL,
    sealed_devices boolean  NOT NULL,
    evidence       text     NOT NULL,
    PRIMARY KEY (deletion, round, leg)
);

-- What became of devices after their receipt. Appended by whoever hears of it, and never changed.
CREATE TABLE addendum (
    deletion      uuid     NOT NULL,
    recorded_at   bigint   NOT NULL,
    returned_at   bigint   NOT NULL,
    binding_epoch bigint   NOT NULL,
    fingerprint   uuid     NOT NULL,
    round         integer  NOT NULL,
    leg           smallint NOT NULL,
    device        text     NOT NULL,
    ending        text     NOT NULL,
    was           text     NOT NULL,
    PRIMARY KEY (deletion, round, leg, device, binding_epoch, ending),

    CONSTRAINT addendum_ending_known CHECK (ending IN ('CONFIRMED', 'EXECUTED', 'SUPERSEDED', 'NEVER_RETURNED')),
    -- The judgement, at its other end.
    CONSTRAINT addendum_left_open CHECK (was = 'DETACHED' OR (was = 'EXECUTED' AND ending = 'CONFIRMED'))
);

CREATE TABLE history (
    deletion uuid     NOT NULL,
    at       bigint   NOT NULL,
    revision integer  NOT NULL,
    state    smallint NOT NULL,
    note     text     NOT NULL,
    PRIMARY KEY (deletion, revision)
);

-- One live deletion per account.
CREATE TABLE live (
    account  text NOT NULL PRIMARY KEY,
    deletion uuid NOT NULL
);

CREATE TABLE request (
    id       uuid NOT NULL PRIMARY KEY,
    digest   uuid NOT NULL,
    deletion uuid NOT NULL
);

CREATE TABLE outbox (
    slot     smallint NOT NULL,
    deletion uuid     NOT NULL,
    state    smallint NOT NULL,
    at       bigint   NOT NULL,
    PRIMARY KEY (slot, deletion)
);

CREATE TABLE coordinator (
    holder      text   NOT NULL PRIMARY KEY,
    epoch       bigint NOT NULL,
    lease_until bigint NOT NULL
) WITH (fillfactor = 45);

CREATE TABLE slot (
    slot   smallint NOT NULL PRIMARY KEY,
    holder text
) WITH (fillfactor = 45);

INSERT INTO slot (slot) SELECT generate_series(0, 63);

CREATE TABLE policy (
    version integer NOT NULL PRIMARY KEY,
    digest  bytea   NOT NULL UNIQUE,
    doc     text    NOT NULL
);
