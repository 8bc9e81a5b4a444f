-- What is to be done, when, and who is at it. What a job is about stands in a table of its queue's own.

CREATE TABLE work (
  queue TEXT NOT NULL,
  id UUID NOT NULL,
  due_at TIMESTAMPTZ NOT NULL,
  attempts BIGINT NOT NULL,
  fence BIGINT NOT NULL,
  leased_by UUID,
  leased_until TIMESTAMPTZ,
  hastened BOOLEAN NOT NULL DEFAULT false,
  last_error TEXT,
  dead_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (queue, id)
);
CREATE INDEX work_due ON work (queue, due_at) WHERE dead_at IS NULL;
CREATE INDEX work_leased ON work (leased_by) WHERE leased_by IS NOT NULL;
CREATE INDEX work_dead ON work (queue) WHERE dead_at IS NOT NULL;

INSERT INTO work (queue, id, due_at, attempts, fence, created_at)
SELECT 'deployments', id, created_at, 0, 0, created_at FROM deployments WHERE status IN ('pending', 'building');
