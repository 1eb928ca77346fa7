#!/bin/sh
# fuzz.sh TAGS: every fuzz function for $FUZZTIME (30s), or those of the packages in $FUZZ_PACKAGES.
# Go fuzzes one function at a time; what breaks one is kept under its testdata/fuzz and is a test from then on.
set -eu
status=0
# shellcheck disable=SC2086 # the packages are words
for package in $(go list -buildvcs=false -tags "$1" ${FUZZ_PACKAGES:-./...}); do
  for function in $(go test -buildvcs=false -tags "$1" -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    echo "== $package $function"
    go test -buildvcs=false -tags "$1" -run '^$' -fuzz "^$function\$" -fuzztime "${FUZZTIME:-30s}" "$package" </dev/null || status=1
  done
done
exit "$status"
