#!/bin/sh
# guest-kernel.sh [DIR]: Debian's cloud kernel with its modules, fetched and unpacked, not installed. DIR is where hutch looks
# for it, if none is given.
set -eu
here=$(dirname "$0")
# shellcheck source=.ci/guest-apt.sh
. "$here/guest-apt.sh"
dir=${1:-$(kernels_dir)/cloud}
"$here/deps.sh" guest
umask 022
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
guest_sources "$work/apt" "$suite" "$suite-updates" "$suite-security"
package=$(guest_apt apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
if [ -z "$package" ]; then
  echo "linux-image-cloud-amd64 is in none of: $(sort -u "$work/apt/sources.list")" >&2
  exit 1
fi
release=${package#linux-image-}
if [ -e "$dir/boot/vmlinuz-$release" ] && [ -e "$dir/lib/modules/$release/modules.dep" ]; then
  echo "$dir/boot/vmlinuz-$release is the newest"
  exit 0
fi
(cd "$work" && guest_apt apt-get -q download "$package" >/dev/null)
mkdir "$work/new"
dpkg-deb -x "$work/$package"_*.deb "$work/new"
# The kernel's package does this when it is installed.
PATH=$PATH:/sbin:/usr/sbin depmod -b "$work/new" "$release"
rm -rf "$dir"
mv "$work/new" "$dir"
echo "$dir/boot/vmlinuz-$release"
