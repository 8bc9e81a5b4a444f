-- Our copy of what builds printed: lines in compressed chunks, numbered as Ghost numbers them.

CREATE TABLE build_logs (
  build_id UUID NOT NULL PRIMARY KEY REFERENCES deployments(build_id) ON DELETE CASCADE,
  last_n BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  is_complete BOOLEAN NOT NULL,
  cut_after BIGINT,
  updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX build_logs_updated ON build_logs (updated_at);

CREATE TABLE build_log_chunks (
  build_id UUID NOT NULL REFERENCES build_logs(build_id) ON DELETE CASCADE,
  first_n BIGINT NOT NULL,
  last_n BIGINT NOT NULL,
  data BYTEA NOT NULL,
  PRIMARY KEY (build_id, first_n)
);

-- Of builds that there are already, as far as Ghost still has their logs.
INSERT INTO work (queue, id, due_at, attempts, fence, created_at)
SELECT 'build_logs', build_id, created_at, 0, 0, created_at FROM deployments WHERE ogel_build_id IS NOT NULL;
