-- Accounts that were asked something other than to be deleted: their standing, and their requests with what each participant
-- did. One row is one compare-and-set. Answers change neither key nor `attention_at`, which is when the oldest request
-- under way began.
CREATE TABLE account (
    account      TEXT    NOT NULL PRIMARY KEY,
    attention_at INTEGER,
    revision     INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    doc          TEXT    NOT NULL,

    CONSTRAINT account_revision_counts CHECK (revision >= 1)
) STRICT;

CREATE INDEX account_attention ON account (slot, attention_at, account) WHERE attention_at IS NOT NULL;
