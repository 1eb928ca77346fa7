#!/bin/sh
# test.sh TAGS: runs all tests. As root: all as root, then all as an unprivileged user, which is
# $HUTCH_TEST_USER, or else hutch-test, which is made. As an ordinary user: only that half.
# HUTCH_FORBID_SKIP=1: a skip that is not in .ci/allowed-skips is a failure.
# HUTCH_TEST_PACKAGES: the packages, all by default.
set -eu
tags=$1
forbid=false
[ "${HUTCH_FORBID_SKIP:-}" != 1 ] || forbid=true
packages=${HUTCH_TEST_PACKAGES:-./...}
# Not under the tree, which an unprivileged user may be unable to reach.
work=$(mktemp -d "${TMPDIR:-/tmp}/hutch-test.XXXXXX")
# Go writes its module cache read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
logs=$PWD/build/test-logs
mkdir -p "$logs"
# Who counts the tests is tested first.
go test -count=1 .ci/testsum.go .ci/testsum_test.go >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
go build -o "$work/testsum" .ci/testsum.go

# summarize WHO: shows the run whose JSON comes in; its last line is the numbers.
summarize() {
  "$work/testsum" -who "$1" -allowed .ci/allowed-skips -log "$logs/$1" \
    "-forbid-skip=$forbid"
}

# A kernel for full guests: the small one where it was built, else Debian's.
guest_kernel() {
  # shellcheck source=.ci/guest-apt.sh
  . .ci/guest-apt.sh
  small=$(kernels_dir)/microvm
  if [ -e "$small/vmlinux" ]; then
    cp -r "$small" "$work/kernel"
    kernel=$work/kernel/vmlinux
  else
    [ -e build/guest-kernel/boot ] || .ci/guest-kernel.sh amd64 build/guest-kernel >/dev/null || return
    cp -r build/guest-kernel "$work/kernel"
    kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
  fi
  chmod -R go+rX "$work/kernel"
  chmod 711 "$work"
  export HUTCH_KVM_KERNEL="$kernel"
}
guest_kernel

# tests PACKAGE...: the JSON of their tests. The slowest package takes three minutes and a half on a busy machine; one that hangs says where
# before all is out of time. The program is tested as it is built: without a C library, and
# entered before Go's runtime.
tests() {
  [ $# -gt 0 ] || return 0
  cgo=1 limit=5m
  if [ "$1" = hutch/cmd/hutch ]; then
    cgo=0 limit=6m
    set -- -ldflags "-E hutch_entry" "$@"
  fi
  CGO_ENABLED=$cgo go test -json -count=1 -timeout=$limit -buildvcs=false -tags "$tags" "$@" </dev/null 2>&1 || touch "$work/failed"
}

# here WHO: the tests as the caller.
here() {
  echo "== tests as $1"
  # shellcheck disable=SC2086 # the packages are words, here and below
  all=$(go list -buildvcs=false -tags "$tags" $packages)
  # Side by side: the program's own tests take the longest.
  # shellcheck disable=SC2046
  {
    tests $(echo "$all" | grep -x hutch/cmd/hutch) >"$work/program" &
    tests $(echo "$all" | grep -vx hutch/cmd/hutch)
    wait
    cat "$work/program"
  } | summarize "$1" && [ ! -e "$work/failed" ]
}

# rootless: the same as another user; a script of its own, so that any error in its preparation stops it.
rootless() {
  .ci/test-rootless.sh prepare "$tags" "$work" || return
  echo "== tests as rootless (${HUTCH_TEST_USER:-hutch-test})"
  .ci/test-rootless.sh run "$tags" "$work" | summarize rootless
}

status=0
if [ "$(id -u)" = 0 ]; then
  here root || status=1
  rootless || status=1
else
  here rootless || status=1
fi
[ "$status" = 0 ] || echo "test.sh: the whole output is in build/test-logs" >&2
exit "$status"
