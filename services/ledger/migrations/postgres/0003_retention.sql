-- Who keeps something under law: legs, as in `done`. Merged with receipts, and looked up by nobody.
ALTER TABLE deletion
    ADD COLUMN retains bigint NOT NULL DEFAULT 0,
    -- Those of them that are asked to erase what has ended.
    ADD COLUMN expiring bigint NOT NULL DEFAULT 0,
    -- What is owed after the purge keeps a deletion open, at this end too.
    ADD CONSTRAINT deletion_closed_with_nothing_kept CHECK (closed_at IS NULL OR state <> 5 OR retains = 0),
    ADD CONSTRAINT deletion_expiring_after_purge CHECK (expiring = 0 OR state = 5);

-- What was kept before there was anybody to ask for it is owed from now on.
UPDATE deletion d SET closed_at = NULL, attention_at = d.end_at
WHERE d.state = 5
  AND EXISTS (SELECT FROM receipt r WHERE r.deletion = d.id AND r.evidence LIKE '%"retained":[{%');
