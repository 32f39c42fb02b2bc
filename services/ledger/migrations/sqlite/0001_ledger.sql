-- Times are microseconds since 1970; ids and digests are 16 bytes; truth is 0 or 1.
-- Tables whose key is all there is to look up are stored in the order of the key.

CREATE TABLE deletion (
    id               BLOB    NOT NULL PRIMARY KEY,
    slot             INTEGER NOT NULL,
    account          TEXT    NOT NULL,
    request          BLOB    NOT NULL,
    request_digest   BLOB    NOT NULL,
    channel          INTEGER NOT NULL,
    policy_version   INTEGER NOT NULL,
    consents         TEXT    NOT NULL,
    requested_at     INTEGER NOT NULL,
    deadline         INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    expires_at       INTEGER,
    cooling_off_end  INTEGER,
    erase_at         INTEGER,
    end_at           INTEGER,
    sealed           INTEGER NOT NULL,
    factors_required INTEGER NOT NULL,
    factors_verified INTEGER NOT NULL,
    round            INTEGER NOT NULL,
    done             INTEGER NOT NULL,
    need             INTEGER NOT NULL,
    refused          INTEGER NOT NULL,
    blockers         TEXT    NOT NULL,
    held             INTEGER NOT NULL,
    conflicts        INTEGER NOT NULL,
    attention_at     INTEGER,
    closed_at        INTEGER,
    traceparent      TEXT    NOT NULL,
    revision         INTEGER NOT NULL,

    CONSTRAINT deletion_state_known CHECK (state BETWEEN 1 AND 8),
    -- The gate, at its other end.
    CONSTRAINT deletion_purged_with_all CHECK (state <> 5 OR (need <> 0 AND (done & need) = need)),
    -- Nothing destructive before the point of no return, and nobody comes back from it.
    CONSTRAINT deletion_begun CHECK ((erase_at IS NULL) = (state NOT IN (3, 4, 5)))
) STRICT;

-- Acknowledgements never change these columns.
CREATE INDEX deletion_attention ON deletion (slot, attention_at, id) WHERE attention_at IS NOT NULL;

-- An entry is made once, when the deletion ends; the live one is found through `live`.
CREATE INDEX deletion_ended ON deletion (account) WHERE state >= 5;

CREATE TABLE receipt (
    deletion       BLOB    NOT NULL,
    round          INTEGER NOT NULL,
    leg            INTEGER NOT NULL,
    fingerprint    BLOB    NOT NULL,
    settled_at     INTEGER NOT NULL,
    sealed_devices INTEGER NOT NULL,
    evidence       TEXT    NOT NULL,
    PRIMARY KEY (deletion, round, leg)
) STRICT, WITHOUT ROWID;

-- What became of devices after their receipt. Appended by whoever hears of it, and never changed.
CREATE TABLE addendum (
    deletion      BLOB    NOT NULL,
    round         INTEGER NOT NULL,
    leg           INTEGER NOT NULL,
    device        TEXT    NOT NULL,
    binding_epoch INTEGER NOT NULL,
    ending        TEXT    NOT NULL,
    was           TEXT    NOT NULL,
    returned_at   INTEGER NOT NULL,
    recorded_at   INTEGER NOT NULL,
    fingerprint   BLOB    NOT NULL,
    PRIMARY KEY (deletion, round, leg, device, binding_epoch, ending),

    CONSTRAINT addendum_ending_known CHECK (ending IN ('CONFIRMED', 'EXECUTED', 'SUPERSEDED', 'NEVER_RETURNED')),
    -- The judgement, at its other end.
    CONSTRAINT addendum_left_open CHECK (was = 'DETACHED' OR (was = 'EXECUTED' AND ending = 'CONFIRMED'))
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    deletion BLOB    NOT NULL,
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    state    INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    PRIMARY KEY (deletion, revision)
) STRICT, WITHOUT ROWID;

-- One live deletion per account.
CREATE TABLE live (
    account  TEXT NOT NULL PRIMARY KEY,
    deletion BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    id       BLOB NOT NULL PRIMARY KEY,
    digest   BLOB NOT NULL,
    deletion BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    slot     INTEGER NOT NULL,
    deletion BLOB    NOT NULL,
    state    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (slot, deletion)
) STRICT, WITHOUT ROWID;

CREATE TABLE coordinator (
    holder      TEXT    NOT NULL PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slot (
    slot   INTEGER NOT NULL PRIMARY KEY,
    holder TEXT
) STRICT;

WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 63)
INSERT INTO slot (slot) SELECT n FROM number;

CREATE TABLE policy (
    version INTEGER NOT NULL PRIMARY KEY,
    digest  BLOB    NOT NULL UNIQUE,
    doc     TEXT    NOT NULL
) STRICT;
