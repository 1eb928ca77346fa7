#!/bin/sh
# demo-root.sh FILE.tar.zst: makes a small root filesystem out of Debian packages, as any user.
# The packages are only downloaded and unpacked: no maintainer script runs, nothing is installed.
set -eu
out=$1
# A static shell, an application, and the libraries that the application is linked to.
packages='busybox-static sqlite3 libsqlite3-0 libreadline8 libtinfo6 zlib1g libc6 libgcc-s1 gcc-12-base
  base-passwd netbase tzdata ca-certificates'

dir=$(dirname "$out")
mkdir -p "$dir/debs"
work=$(mktemp -d "$dir/demo.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
root=$work/root
debs=$(cd "$dir/debs" && pwd)
log=$work/log

# apt-get needs no root to fetch into the current directory; but where it has no package lists yet
# (a container image), or they are outdated, an index of our own is fetched first.
fetch() {
  # shellcheck disable=SC2086 # the words of the list are wanted
  (cd "$debs" && apt-get -q -y "$@" download $packages </dev/null) >>"$log" 2>&1
}
own_index() {
  state=$debs/apt
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  set -- -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o "APT::Sandbox::User=$(id -un)"
  apt-get -q "$@" update </dev/null >>"$log" 2>&1 || true # one dead source must not stop us
  fetch "$@"
}
fetch || own_index || {
  tail -n 20 "$log" >&2
  echo "demo-root.sh: the packages cannot be downloaded: check the network and /etc/apt/sources.list" >&2
  exit 1
}

# Since Debian 12, /bin, /lib and /sbin are symlinks into /usr, and packages may still name them.
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/etc" "$root/root" "$root/var/tmp" "$root/tmp"
chmod 1777 "$root/tmp" "$root/var/tmp"
chmod 700 "$root/root"
for package in $packages; do
  # The newest of several downloads, by name: an older one stays behind when Debian updates a package.
  deb=$(find "$debs" -maxdepth 1 -name "${package}_*.deb" | sort -V | tail -n 1)
  dpkg-deb --fsys-tarfile "$deb" |
    tar -x -C "$root" --keep-directory-symlink --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man \
      --exclude=./usr/share/locale --exclude=./usr/share/lintian --exclude=./usr/share/zoneinfo/right
done
# What the maintainer scripts would have done.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
"$root/usr/bin/busybox" --list | while read -r applet; do
  [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

# Written beside its place and renamed, so that an interrupted run leaves no half of a tar.
tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -c . | zstd -q -T0 -f -o "$work/tar"
mv "$work/tar" "$out"
