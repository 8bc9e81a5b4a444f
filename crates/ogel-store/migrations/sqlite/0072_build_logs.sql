-- Our copy of what builds printed: lines in compressed chunks, numbered as Ghost numbers them.

CREATE TABLE build_logs (
  build_id BLOB NOT NULL PRIMARY KEY REFERENCES deployments(build_id) ON DELETE CASCADE,
  last_n INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  is_complete INTEGER NOT NULL,
  cut_after INTEGER,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX build_logs_updated ON build_logs (updated_at);

CREATE TABLE build_log_chunks (
  build_id BLOB NOT NULL REFERENCES build_logs(build_id) ON DELETE CASCADE,
  first_n INTEGER NOT NULL,
  last_n INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (build_id, first_n)
) STRICT;

-- Of builds that there are already, as far as Ghost still has their logs.
INSERT INTO work (queue, id, due_at, attempts, fence, created_at)
SELECT 'build_logs', build_id, created_at, 0, 0, created_at FROM deployments WHERE ogel_build_id IS NOT NULL;
