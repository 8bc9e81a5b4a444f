-- Which version of a webhook a change was meant for.
ALTER TABLE webhooks ADD COLUMN row_version INTEGER NOT NULL DEFAULT 1;
