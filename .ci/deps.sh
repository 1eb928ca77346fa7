#!/bin/sh
# deps.sh GROUP...: installs what is missing from Debian's packages; silent when nothing is.
# As root directly, else through sudo, else it says what to install.
#
# To add a package: one line below, "need PROBE PACKAGE", where PROBE is a shell command that succeeds
# when the thing is there, whoever installed it.
set -eu
missing=
need() { eval "$1" >/dev/null 2>&1 || missing="$missing $2"; }
static() { ! ldd "$(command -v "$1")"; }
has() { command -v "$1"; }
# Whether gcc can link a static program against library $1, for architecture flag $2.
links() { echo 'int main(void){return 0;}' | gcc ${2:+"$2"} -static -x c - -o /dev/null -Wl,--no-as-needed "-l$1"; }

group_build() {
  need 'has gcc' gcc
  need 'links c' libc6-dev
  need 'has gzip' gzip
  need 'has pkg-config' pkg-config
  need 'pkg-config --exists libseccomp && links seccomp' libseccomp-dev
}

group_demo() {
  need 'has dpkg-deb' dpkg
  need 'has zstd' zstd
}

# What the tests run inside boxes, or look at boxes with.
group_test() {
  need 'has useradd && has setpriv' 'passwd util-linux'
  need 'has newuidmap' uidmap
  need 'has busybox && static busybox' busybox-static
  need 'has linux.uml' user-mode-linux
  need 'has strace' strace
  need 'has xz' xz-utils
  need 'has bzip2' bzip2
  need 'has setfattr' attr
  need 'has umoci' umoci
  need 'has mke2fs || test -x /usr/sbin/mke2fs' e2fsprogs
  need 'has setfacl' acl
  need 'has fsck.erofs' erofs-utils
  need 'has qemu-system-x86_64' qemu-system-x86
  need 'links c -m32' gcc-multilib
  need 'has musl-gcc' musl-tools
  need 'has python3' python3
  need 'has sqlite3' sqlite3
  need 'has nginx || test -x /usr/sbin/nginx' nginx-light
  need 'has git' git
  need 'has node' nodejs
  need 'has java' default-jre-headless
  need 'has chromium' chromium
  need 'has skopeo' skopeo
  need 'has vi' vim-tiny
  need 'has less' less
  need 'has top' procps
  need 'has tmux' tmux
}

# The other kinds of isolation that are here to be compared with.
group_compare() {
  need 'has bwrap' bubblewrap
  need 'has runc' runc
  need 'has linux.uml' user-mode-linux
  need 'has qemu-system-x86_64' qemu-system-x86
}

# For Debian's guest kernel, and for guest kernels of one's own.
group_guest() {
  need 'has dpkg-deb' dpkg
  need 'has depmod || test -x /sbin/depmod' kmod
}

group_guest_build() {
  need 'has gcc' gcc
  need 'links c' libc6-dev
  need 'has flex' flex
  need 'has bison' bison
  need 'has bc' bc
  need 'has xz' xz-utils
  need 'echo "#include <gelf.h>" | gcc -E -x c -' libelf-dev
  need 'has strip' binutils
}

group_bench() {
  need 'has bwrap' bubblewrap
  need 'has crun' crun
  need 'has runc' runc
  need 'has linux.uml' user-mode-linux
  need 'has mke2fs' e2fsprogs
  need 'has busybox && static busybox' busybox-static
  need 'has mmdebstrap' mmdebstrap
  need 'has skopeo' skopeo
  need 'has umoci' umoci
  need 'has podman' podman
  need 'has strace' strace
}

for group; do
  case "$group" in
  build | demo | test | bench | compare | guest) "group_$group" ;;
  guest-build) group_guest_build ;;
  *) echo "deps.sh: no group '$group' (there are: build demo test bench compare guest guest-build)" >&2 && exit 2 ;;
  esac
done
command -v go >/dev/null || { echo "deps.sh: go is missing: install Go 1.26 or newer from https://go.dev/dl" >&2; exit 1; }
[ -n "$missing" ] || exit 0

# One line per package once, in the order first asked for.
# shellcheck disable=SC2086 # the words of the list are wanted
missing=$(printf '%s\n' $missing | awk '!seen[$0]++' | tr '\n' ' ')
if ! command -v apt-get >/dev/null; then
  echo "missing, and there is no apt-get here; install what your system calls: $missing" >&2
  exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    echo "missing; have it installed with: apt-get install $missing" >&2
    exit 1
  fi
  as_root=sudo
fi
echo "installing: $missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Mirrors and locks fail now and then, so each step is tried three times.
retry() {
  for pause in 5 15 0; do
    "$@" >"$log" 2>&1 && return
    [ "$pause" = 0 ] || sleep "$pause"
  done
  tail -n 20 "$log" >&2
  return 1
}
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
# A third-party source that does not answer must not stop us: what counts is the installation.
retry apt update || echo "apt-get update had errors; going on with what it fetched" >&2
# shellcheck disable=SC2086
retry apt install --no-install-recommends $missing
