-- Since when a deleted project is being removed for good: from then on it cannot be restored.
ALTER TABLE projects ADD COLUMN purging_at TEXT;
