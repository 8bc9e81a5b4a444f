# Keeps one program for as long as standard input stays open; `service.rs` says why it is done this way.
# Thousands of connections need as many descriptors: what root may ask for, else what this user may have.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
log=$1
shift
"$@" </dev/null >>"$log" 2>&1 &
program=$!
echo "$program"
exec >/dev/null 2>&1
while read -r _; do :; done
kill "$program"
# Long enough for a profiler to write its file.
(sleep 60 && kill -9 0) &
wait "$program"
kill -9 0
