# Keeps one Redis for as long as standard input stays open; `postgres.rs` says why it is done this way.
set -eu

stop() {
  [ -z "${server:-}" ] || kill -9 "$server" 2>/dev/null || :
  rm -rf "$OGEL_REDIS_DIR"
}
mkdir -m 700 "$OGEL_REDIS_DIR"
trap stop EXIT
trap 'exit 143' HUP INT PIPE TERM

# Loopback only, because anyone who reaches the port is let in; nothing here is worth a disk.
"$OGEL_REDIS_SERVER" --bind 127.0.0.1 --port "$OGEL_REDIS_PORT" --save '' --appendonly no --dir "$OGEL_REDIS_DIR" \
  --maxclients 4000 </dev/null >"$OGEL_REDIS_DIR/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  if grep -q 'Ready to accept connections' "$OGEL_REDIS_DIR/server.log"; then
    echo ready
    while read -r _; do :; done
    exit 0
  fi
  kill -0 "$server" 2>/dev/null || break
  sleep 0.05
done
cat "$OGEL_REDIS_DIR/server.log" >&2
exit 1
