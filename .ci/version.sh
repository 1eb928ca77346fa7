#!/bin/sh
# Prints the version and the commit; with -X as flags for the Go linker.
# Works in a clone without tags (the commit is the version) and outside git (devel, unknown).
set -u
version=devel commit=unknown
# Only this repository counts, not one that a tarball was unpacked inside of. `-c safe.directory` lets
# root build a tree that belongs to somebody else.
top=$(pwd)
ours() { git -c safe.directory="$top" "$@" 2>/dev/null; }
if [ -e .git ] && commit_now=$(ours rev-parse --short=12 HEAD); then
  commit=$commit_now
  version=$(ours describe --tags --always --dirty) || version=$commit
fi
case "${1:-}" in
-X) echo "-X main.version=$version -X main.commit=$commit" ;;
*) echo "$version $commit" ;;
esac
