#!/bin/sh
# What `make run` shows: a real application, in a real root filesystem, in a box; and what stood around it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=build/demo.tar.zst
query="select 'sqlite ' || sqlite_version() || ' says: ' || sum(value) || ' is the sum of 1 to 100' from generate_series(1, 100);"

echo "\$ bin/hutch run $root -- sqlite3 :memory: \"$query\""
bin/hutch run --result "$work/result" "$root" -- sqlite3 :memory: "$query"
echo
# shellcheck disable=SC2016 # the shell in the box expands it
script='id; hostname; echo "processes: $(ls /proc | grep -c "^[0-9]")"; ip addr; mount -t proc proc /tmp'
echo "\$ bin/hutch run $root -- sh -c '$script'"
# The last command is refused: that is the point, so its status is not ours.
bin/hutch run "$root" -- sh -c "$script" || true
echo
echo "what became of the first run, and what was enforced (--result):"
# One object on one line: broken here where its parts begin.
sed -E 's/,"(usage|timing|enforced|denied)":/,\n "\1":/g' "$work/result"
