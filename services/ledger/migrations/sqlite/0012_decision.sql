-- Who decided a step and why: of few steps, and nothing is looked up in it.
ALTER TABLE history ADD COLUMN decision TEXT;
