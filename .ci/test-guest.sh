#!/bin/sh
# test-guest.sh TAGS: runs the tests of limits and of isolation in a User Mode Linux guest, where control groups are
# version 2 alone, and complete, and where they are root's whoever calls this. $HUTCH_UML_KERNEL is the kernel, linux.uml
# otherwise. Prints a line for each package, and all of a package that fails.
#
# To add a package: one line of packages, with the tests that make sense there and those that need what this kernel lacks:
# Landlock, IPv6, programs of 32 bits, and a clock that does not wait for the host's.
set -eu
tags=$1
packages='
runner/cgroup . RemoveIsPatient
runner/native Users|RootInside|Setuid|Keyring|SignalsTo|SharedMemory|Network|Namespaces|Refused|Injection|Images|KernelFiles|NoCgroup|Masks|Writes|Status|Survives|Dies|Mounts none
'
kernel=${HUTCH_UML_KERNEL:-linux.uml}
work=$(mktemp -d "${TMPDIR:-/tmp}/hutch-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$work/out"
echo "$packages" | while read -r package tests skip; do
  [ -n "$package" ] || continue
  name=$(echo "$package" | tr / _)
  go test -c -buildvcs=false -tags "$tags" -o "$work/$name" "./$package" </dev/null
  echo "cd $PWD/$package && $work/$name -test.v -test.timeout=300s -test.run='$tests' -test.skip='$skip' >$work/out/$name 2>&1; echo \$? >$work/out/$name.status"
done >"$work/tests"
# Trees are id-mapped, which tmpfs and hostfs of this kernel cannot.
truncate -s 1G "$work/disk"
mkfs.ext4 -q -O ^has_journal "$work/disk"
cat >"$work/init" <<END
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/mnt CGROUP_TEST_GUEST=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 none /sys/fs/cgroup
mount -t ext4 /dev/ubda /mnt
chmod 1777 /mnt
for m in \$(find /usr/lib/uml/modules/\$(uname -r) -name overlay.ko 2>/dev/null); do insmod \$m; done
ip link set lo up
. $work/tests
echo done >$work/out/done
echo o >/proc/sysrq-trigger
sleep 60
END
chmod 755 "$work/init"
# One processor: the guest has one, and its processes take turns. Spread, they need twice the time and more.
one=$(taskset -cp $$ | sed 's/.*[:,-] *//')
# The kernel's own words are of use only when it fails.
TMPDIR=/dev/shm HOME="$work" timeout --kill-after=5 400 taskset -c "$one" "$kernel" mem=1G rootfstype=hostfs rw "init=$work/init" \
  "ubd0=$work/disk" con=null con0=null,fd:1 ssl=null quiet panic=-1 noreboot uml_dir="$work/uml" >"$work/console" 2>&1 </dev/null || true
status=0
if [ ! -e "$work/out/done" ]; then
  echo "test-guest.sh: the guest did not come to its end:" >&2
  tail -n 20 "$work/console" >&2
  status=1
fi
for file in "$work"/out/*.status; do
  [ -e "$file" ] || continue
  out=${file%.status}
  name=$(basename "$out" | tr _ /)
  counts=$(awk '/^ *--- (PASS|FAIL|SKIP)/ { n[$2]++ } END { printf "%d passed, %d failed, %d skipped", n["PASS:"], n["FAIL:"], n["SKIP:"] }' "$out")
  if [ "$(cat "$file")" = 0 ]; then
    echo "ok   $name in a guest: $counts"
  else
    echo "FAIL $name in a guest: $counts"
    cat "$out"
    status=1
  fi
done
exit "$status"
