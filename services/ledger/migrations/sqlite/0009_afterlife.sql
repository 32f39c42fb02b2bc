-- What had ended under law is ended again, too.
ALTER TABLE replay RENAME TO replay_of_purges;

CREATE TABLE replay (
    deletion    BLOB    NOT NULL,
    participant TEXT    NOT NULL,
    round       INTEGER NOT NULL,
    verb        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    evidence    TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (deletion, participant, round, verb),

    CONSTRAINT replay_verb_known CHECK (verb IN ('erase', 'expire', 'probe'))
) STRICT, WITHOUT ROWID;

INSERT INTO replay (deletion, participant, round, verb, fingerprint, evidence, recorded_at)
SELECT deletion, participant, round, verb, fingerprint, evidence, recorded_at FROM replay_of_purges;
DROP TABLE replay_of_purges;
