#!/bin/sh
# guest-kernel.sh [FLAVOUR [DIR]]: Debian's kernel with its modules, fetched and unpacked, not installed. FLAVOUR is
# cloud-amd64, or amd64, which is larger and has 9p: for --bind and a host root. DIR is where hutch looks for it, if none is
# given.
set -eu
here=$(dirname "$0")
# shellcheck source=.ci/guest-apt.sh
. "$here/guest-apt.sh"
flavour=${1:-cloud-amd64}
dir=${2:-$(kernels_dir)/debian-$flavour}
"$here/deps.sh" guest
umask 022
mkdir -p "$(dirname "$dir")"
# apt takes a path that is relative for one below /etc/apt.
dir=$(cd "$(dirname "$dir")" && pwd)/$(basename "$dir")
work=$(mktemp -d "$dir.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
guest_security=yes
guest_sources "$work/apt" "$suite" "$suite-updates" "$suite-security"
package=$(guest_apt apt-cache depends "linux-image-$flavour" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
if [ -z "$package" ]; then
  echo "linux-image-$flavour is in none of: $(sort -u "$work/apt/sources.list")" >&2
  exit 1
fi
release=${package#linux-image-}
if [ -e "$dir/boot/vmlinuz-$release" ] && [ -e "$dir/lib/modules/$release/modules.dep" ]; then
  echo "$dir/boot/vmlinuz-$release is the newest"
  exit 0
fi
(cd "$work" && guest_apt apt-get -q download "$package" >/dev/null)
mkdir "$work/new"
# Of the modules those that a guest could load: virtio, disks, file systems, and what they need.
dpkg-deb --fsys-tarfile "$work/$package"_*.deb | tar -x -C "$work/new" --wildcards './boot/*' '*/modules.*' '*/kernel/lib/*' \
  '*/kernel/crypto/*' '*/kernel/drivers/virtio/*' '*/kernel/drivers/block/virtio_blk*' '*/kernel/drivers/char/*' \
  '*/kernel/fs/9p/*' '*/kernel/fs/erofs/*' '*/kernel/fs/ext4/*' '*/kernel/fs/fscache/*' '*/kernel/fs/fuse/*' \
  '*/kernel/fs/netfs/*' '*/kernel/fs/overlayfs/*' '*/kernel/net/9p/*' 2>"$work/log" || grep -v 'Not found in archive\|previous errors' "$work/log" >&2 || true
# The kernel's package does this when it is installed.
PATH=$PATH:/sbin:/usr/sbin depmod -b "$work/new" "$release" 2>/dev/null
rm -rf "$dir"
mv "$work/new" "$dir"
echo "$dir/boot/vmlinuz-$release"
