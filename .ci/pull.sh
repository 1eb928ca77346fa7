#!/bin/sh
# pull.sh TAGS: builds hutch-pull and puts it, compressed, where cmd/hutch embeds it.
# Without cgo: it gives up its privileges on every thread, which a program with cgo cannot.
set -eu
to=cmd/hutch/embedded/hutch-pull.gz
half=$(mktemp -d)
trap 'rm -rf "$half"' EXIT
CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$1" -ldflags '-s -w' -o "$half/hutch-pull" ./cmd/hutch-pull
gzip -9 -n "$half/hutch-pull"
# An unchanged file keeps its time, and so Go's build cache.
cmp -s "$half/hutch-pull.gz" "$to" || cp "$half/hutch-pull.gz" "$to"
