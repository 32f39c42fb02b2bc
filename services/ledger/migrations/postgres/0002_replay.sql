-- What was erased, or looked for, again after a purge, at a participant that was restored from a backup. Appended, and never
-- changed; a purge and its certificate never read it.
CREATE TABLE replay (
    deletion    uuid    NOT NULL,
    recorded_at bigint  NOT NULL,
    fingerprint uuid    NOT NULL,
    round       integer NOT NULL,
    participant text    NOT NULL,
    verb        text    NOT NULL,
    evidence    text    NOT NULL,
    PRIMARY KEY (deletion, participant, round, verb),

    CONSTRAINT replay_verb_known CHECK (verb IN ('erase', 'probe'))
);
