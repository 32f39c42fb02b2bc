-- What was erased, or looked for, again after a purge, at a participant that was restored from a backup. Appended, and never
-- changed; a purge and its certificate never read it.
CREATE TABLE replay (
    deletion    BLOB    NOT NULL,
    participant TEXT    NOT NULL,
    round       INTEGER NOT NULL,
    verb        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    evidence    TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (deletion, participant, round, verb),

    CONSTRAINT replay_verb_known CHECK (verb IN ('erase', 'probe'))
) STRICT, WITHOUT ROWID;
