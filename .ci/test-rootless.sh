#!/bin/sh
# test-rootless.sh prepare TAGS WORK: makes the user, and in WORK a tree and test binaries that it can read.
# test-rootless.sh run TAGS WORK: runs them as that user and prints the JSON of test2json.
# Called by test.sh, as root.
set -eu
verb=$1 tags=$2 work=$3
user=${HUTCH_TEST_USER:-hutch-test}
# The words are wanted, here and below.
packages=${HUTCH_TEST_PACKAGES:-./...}

goroot=$(go env GOROOT)
[ ! -d "$work/go" ] || goroot=$work/go

# The first 65536 ids above every range that is given away.
free_range() {
  cat /etc/subuid /etc/subgid 2>/dev/null |
    awk -F: 'BEGIN { first = 100000 } $2 + $3 > first { first = $2 + $3 } END { print first "-" first + 65535 }'
}

# The user that stands for everybody without privilege, with a range of subordinate ids.
make_user() {
  if ! id "$user" >/dev/null 2>&1; then
    useradd --create-home --user-group --shell /bin/sh "$user"
  fi
  if [ "$(id -u "$user")" = 0 ]; then
    echo "test-rootless.sh: HUTCH_TEST_USER=$user is root: name an ordinary user" >&2
    exit 1
  fi
  for kind in uid gid; do
    grep -q "^$user:" "/etc/sub$kind" 2>/dev/null || usermod "--add-sub${kind}s" "$(free_range)" "$user"
  done
}

# binary PACKAGE: where its test binary lies.
binary() { echo "$work/bin/$(echo "$1" | tr / _)"; }

# The tree may be where the user cannot go (/root), and Go's caches always are: the user gets a copy
# of the sources with the modules vendored, and test binaries that are compiled already.
copy_tree() {
  mkdir -p "$work/bin" "$work/tree/bin" "$work/home" "$work/tmp"
  tar -c --exclude=./.git --exclude=./build --exclude=./bin . | tar -x -C "$work/tree" --no-same-owner
  cp bin/hutch "$work/tree/bin/"
  cd "$work/tree"
  go mod vendor
  # shellcheck disable=SC2086
  go list -buildvcs=false -tags "$tags" -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' $packages \
    >"$work/packages"
  while read -r package _; do
    # The program is tested as it is built, see test.sh.
    cgo=1 entry=
    [ "$package" != hutch/cmd/hutch ] || cgo=0 entry="-E hutch_entry"
    CGO_ENABLED=$cgo go test -c -buildvcs=false -tags "$tags" -ldflags "$entry" -o "$(binary "$package")" "$package"
  done <"$work/packages"
  chown -R "$user:" "$work/tree" "$work/home" "$work/tmp"
  chmod -R go+rX "$work/bin"
  # A toolchain that go fetched for itself lies in its caches as well.
  as_user go version >/dev/null 2>&1 || cp -r "$(go env GOROOT)" "$work/go"
  # Others may pass through, not look around.
  chmod 711 "$work"
}

# as_user COMMAND...: with the user's identity and groups, no capability, and an environment of its own.
# AROUND, when set, is the words of a command that stays root around it.
as_user() {
  # shellcheck disable=SC2086
  ${AROUND:-} setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --inh-caps=-all \
    env -i "PATH=$goroot/bin:$PATH" GOTOOLCHAIN=local "HOME=$work/home" "USER=$user" "TMPDIR=$work/tmp" "GOFLAGS=-buildvcs=false" \
    "HUTCH_KVM_KERNEL=${HUTCH_KVM_KERNEL:-}" "LANG=${LANG:-C.UTF-8}" "HUTCH_FORBID_SKIP=${HUTCH_FORBID_SKIP:-}" "$@" </dev/null
}

case "$verb" in
prepare)
  make_user
  copy_tree
  ;;
run)
  while read -r package dir; do
    # As in test.sh.
    limit=4m
    [ "$package" != hutch/cmd/hutch ] || limit=6m
    # The JSON says when a package fails, so its status is not needed here.
    (
      cd "$dir"
      AROUND="go tool test2json -t -p $package" as_user \
        "$(binary "$package")" -test.v=test2json "-test.timeout=$limit" -test.paniconexit0
    ) 2>&1 || true
  done <"$work/packages"
  ;;
esac
