-- Who keeps something under law: legs, as in `done`. Merged with receipts, and looked up by nobody. What is owed after the purge
-- keeps a deletion open, at this end too.
ALTER TABLE deletion ADD COLUMN retains INTEGER NOT NULL DEFAULT 0
    CONSTRAINT deletion_closed_with_nothing_kept CHECK (closed_at IS NULL OR state <> 5 OR retains = 0);
-- Those of them that are asked to erase what has ended.
ALTER TABLE deletion ADD COLUMN expiring INTEGER NOT NULL DEFAULT 0
    CONSTRAINT deletion_expiring_after_purge CHECK (expiring = 0 OR state = 5);

-- What was kept before there was anybody to ask for it is owed from now on.
UPDATE deletion SET closed_at = NULL, attention_at = end_at
WHERE state = 5
  AND EXISTS (SELECT 1 FROM receipt r WHERE r.deletion = deletion.id AND r.evidence LIKE '%"retained":[{%');
