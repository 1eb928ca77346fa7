#!/bin/sh
# lint.sh TAGS: vet, staticcheck, gofumpt, and the rules of the house that a line of shell can hold.
# Prints nothing when all is clean.
set -eu
tags=$1
# The versions are pinned: a new linter must not turn an old commit red.
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.1
gofumpt=mvdan.cc/gofumpt@v0.12.0

status=0
bad() {
  echo "$@" >&2
  status=1
}
# An empty module cache makes go report its downloads; those words are no finding.
out=$(go mod download 2>&1) || { echo "$out" >&2; exit 1; }
for tool in "$staticcheck" "$gofumpt"; do
  out=$(go run "$tool" -version 2>&1) || { echo "$out" >&2; exit 1; }
done
# complain RULE LINES: the rule, and the lines that break it.
complain() { [ -z "$2" ] || bad "$1:
$2"; }
# sources PATTERN: the lines of our Go files that match, testdata apart.
sources() { grep -rnE --include='*.go' --exclude-dir=testdata --exclude-dir=build --exclude-dir=.git -e "$1" . || true; }

go vet -tags "$tags" ./... || bad "go vet"
go vet .ci/testsum.go .ci/testsum_test.go || bad "go vet .ci"
go run "$staticcheck" -tags "$tags" ./... || bad "staticcheck"
complain "gofumpt -w would change" "$(go run "$gofumpt" -l cmd profiles rootfs runner seccomp .ci)"

complain 'unsafe outside *_unsafe.go' "$(sources '^(import )?[[:space:]]*([._a-z]+ )?"unsafe"' | grep -vE '^[^:]*_unsafe(_[a-z0-9]+)*\.go:')"
# In formatted code a line of a var block has one tab and "="; inside functions ":=" is usual.
complain 'a package-level regexp: compile it where it is used, start-up is the product' \
  "$(sources '^(var .*|	[A-Za-z_, ]+ = )regexp\.MustCompile' | grep -v '_test\.go:')"
complain 'an unfinished thought' "$(sources '//.*\b(TODO|FIXME)\b')"

# one_importer MODULE: at most one of our packages may import it.
one_importer() {
  importers=$(sources "\"$1(/[^\"]*)?\"" | grep -v '_test\.go:' | cut -d: -f1 | xargs -r -n1 dirname | sort -u)
  [ "$(printf '%s' "$importers" | grep -c .)" -le 1 ] || bad "more than one package imports $1:
$importers"
}
one_importer github.com/pelletier/go-toml/v2
one_importer github.com/urfave/cli/v2
one_importer github.com/google/go-containerregistry
one_importer github.com/klauspost/compress
one_importer github.com/ulikunitz/xz

# Where shellcheck is missing, the scripts must at least parse.
for script in .ci/run .ci/*.sh; do
  sh -n "$script" || bad "$script does not parse"
done
! command -v shellcheck >/dev/null || shellcheck -x .ci/run .ci/*.sh || bad "shellcheck"
exit "$status"
