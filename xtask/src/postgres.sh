# Keeps one PostgreSQL cluster for as long as standard input stays open; `postgres.rs` says why it is done this way.
set -eu

stop() {
  "$OGEL_PG_PROGRAMS/pg_ctl" -D "$OGEL_PG_DIR/data" -m immediate -w stop >/dev/null 2>&1 || :
  rm -rf "$OGEL_PG_DIR"
}
fail() {
  cat "$OGEL_PG_DIR"/*.log >&2
  exit 1
}
mkdir -m 700 "$OGEL_PG_DIR"
trap stop EXIT
trap 'exit 143' HUP INT PIPE TERM

"$OGEL_PG_PROGRAMS/initdb" -D "$OGEL_PG_DIR/data" -U ogel -A trust -E UTF8 --locale=C --no-sync \
  >"$OGEL_PG_DIR/initdb.log" 2>&1 || fail

# Loopback only, because anyone who reaches the port is let in. Nothing here has to survive a power cut.
cat >>"$OGEL_PG_DIR/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $OGEL_PG_PORT
unix_socket_directories = ''
max_connections = 200
fsync = off
synchronous_commit = $OGEL_PG_COMMIT
full_page_writes = off
END
start() {
  "$OGEL_PG_PROGRAMS/pg_ctl" -D "$OGEL_PG_DIR/data" -l "$OGEL_PG_DIR/server.log" -w start >"$OGEL_PG_DIR/start.log" 2>&1
}
start || fail

echo ready
while read -r word; do
  case $word in
    crash) "$OGEL_PG_PROGRAMS/pg_ctl" -D "$OGEL_PG_DIR/data" -m immediate -w stop >/dev/null 2>&1 && echo done || echo failed ;;
    start) start && echo done || echo failed ;;
  esac
done
