-- What had ended under law is ended again, too.
ALTER TABLE replay DROP CONSTRAINT replay_verb_known,
    ADD CONSTRAINT replay_verb_known CHECK (verb IN ('erase', 'expire', 'probe'));
