-- What is on record of some deletions only, as JSON: what was told, a raised bar, an extension, why it is late. Nothing is ever
-- looked up in it, and acknowledgements never change it.
ALTER TABLE deletion ADD COLUMN rare TEXT NOT NULL DEFAULT '{}';
