#!/bin/sh
# golden.sh TAGS: rewrites the golden files. Read the difference before it is committed.
set -eu
# Only packages that know the flag: another test binary would refuse it.
packages=$(grep -rlE --include='*_test.go' 'flag\.Bool(Var)?\(.*"update"' . | xargs -r -n1 dirname | sort -u)
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086 # the packages are words
exec go test -buildvcs=false -tags "$1" -count=1 $packages -update
