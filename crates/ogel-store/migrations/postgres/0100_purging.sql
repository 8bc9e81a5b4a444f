-- Since when a deleted project is being removed for good: from then on it cannot be restored.
ALTER TABLE projects ADD COLUMN IF NOT EXISTS purging_at TIMESTAMPTZ;
