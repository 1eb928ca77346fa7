#!/bin/sh
# carried.sh TAGS: builds the programs that hutch carries inside itself, and puts them where cmd/hutch embeds them.
set -eu
to=cmd/hutch/embedded
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# Without cgo: it gives up its privileges on every thread, which a program with cgo cannot.
CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$1" -ldflags '-s -w' -o "$new/hutch-pull" ./cmd/hutch-pull
gzip -9 -n "$new/hutch-pull"

# It has to start fast, in an emulator too.
CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$1" -ldflags '-s -w' -o "$new/hutch-guest" ./cmd/hutch-guest
gzip -9 -n "$new/hutch-guest"

# Not compressed: unpacking it would take longer than running it.
CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$1" -ldflags '-s -w' -o "$new/hutch-scope" ./cmd/hutch-scope
CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$1" -ldflags '-s -w' -o "$new/hutch-decompress" ./cmd/hutch-decompress

# The one with a C library, libseccomp. Its version is a part of the names of cached filters.
gcc -O2 -Wall -Wextra -Werror -static -s -o "$new/hutch-seccomp" cmd/hutch-seccomp/hutch-seccomp.c -lseccomp
"$new/hutch-seccomp" --version >"$new/hutch-seccomp.version"

# An unchanged file keeps its time, and so Go's build cache.
for file in "$new"/*; do
  cmp -s "$file" "$to/${file##*/}" || cp "$file" "$to/${file##*/}"
done
