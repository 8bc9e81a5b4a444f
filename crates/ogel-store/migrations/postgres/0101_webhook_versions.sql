-- Which version of a webhook a change was meant for.
ALTER TABLE webhooks ADD COLUMN row_version BIGINT NOT NULL DEFAULT 1;
