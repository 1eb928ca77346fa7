#!/bin/sh
# Compiles for arm64 every package that needs no C library: without a cross compiler the ones that
# reach libseccomp cannot be, and they are named.
set -eu
export GOARCH=arm64 CGO_ENABLED=0
pure='' needs_c=''
for package in $(go list -buildvcs=false -e ./...); do
  if go list -buildvcs=false -e -deps "$package" | grep -q '^github.com/seccomp/libseccomp-golang'; then
    needs_c="$needs_c $package"
  else
    pure="$pure $package"
  fi
done
# shellcheck disable=SC2086 # the packages are words
go vet -buildvcs=false $pure && go build -buildvcs=false -o /dev/null $pure
# With its own entry, which the linker checks the stack of.
go build -buildvcs=false -ldflags '-E hutch_entry' -o /dev/null ./cmd/hutch
[ -z "$needs_c" ] || echo "not compiled, for they need libseccomp for arm64:$needs_c"
