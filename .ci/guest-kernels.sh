#!/bin/sh
# guest-kernels.sh: small guest kernels, from Debian's kernel source and the configurations beside the engines: in
# KERNELS/uml/linux and KERNELS/microvm/vmlinux, where hutch finds them. About five minutes each on two cores. Which source
# is the newest is asked once a day; NEWEST=ask asks now.
set -eu
here=$(dirname "$0")
# shellcheck source=.ci/guest-apt.sh
. "$here/guest-apt.sh"
dir=$(kernels_dir)
"$here/deps.sh" guest-build
umask 022
mkdir -p "$dir"
# Whoever has the directory locked builds, and goes on holding it until all that it started has ended.
exec 9<"$dir"
if ! flock -n 9; then
  echo "another make guest-kernels is at work in $dir: wait for it, or end it" >&2
  exit 1
fi
rm -rf "$dir"/.build.* # of one that was killed
work=$(mktemp -d "$dir/.build.XXXXXX")
child=
trap 'rm -rf "$work"' EXIT
trap 'stop' INT TERM HUP

# stop ends what runs, then this. The shell itself would wait for a build to be over.
stop() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  wait
  exit 130
}

# long COMMAND...: one that can be stopped.
long() {
  "$@" &
  child=$!
  wait "$child"
}

# The newest version of the newest linux-source package, release candidates apart.
newest() {
  guest_apt apt-cache search --names-only '^linux-source-[0-9.]+$' | awk '{ print $1 }' | sort -rV | while read -r name; do
    latest=$(guest_apt apt-cache madison "$name" | awk '$3 !~ /~rc/ { print $3 }' | sort -V | tail -n 1)
    if [ -n "$latest" ]; then
      echo "$name $latest"
      break
    fi
  done
}

# options FILE: the fragment without what each line is for.
options() { sed -E -e 's/^#.*//' -e 's/[ 	]+#.*//' -e '/^$/d' "$1"; }

# stamp FRAGMENT: what a kernel was made from.
stamp() { echo "$version $(sha256sum <"$1" | cut -d' ' -f1)"; }

# current NAME FRAGMENT: whether the kernel is there already.
current() { [ "$(cat "$dir/$1/stamp" 2>/dev/null)" = "$(stamp "$2")" ]; }

# build NAME ARCH TARGET FRAGMENT
build() {
  if current "$1" "$4"; then
    echo "$dir/$1/$3 is linux $version already"
    return
  fi
  echo "building $dir/$1/$3 of linux $version"
  out=$work/$1
  mkdir "$out"
  options "$4" >"$out/fragment"
  log=$out/log
  {
    make -s -C "$source" O="$out" ARCH="$2" allnoconfig
    (cd "$out" && "$source/scripts/kconfig/merge_config.sh" -m .config fragment)
    make -s -C "$source" O="$out" ARCH="$2" olddefconfig
  } >"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
  # An option that depends on another that is missing vanishes without a word.
  awk -F= 'NR == FNR { have[$1] = $2; next }
    $2 != "n" && have[$1] != $2 || $2 == "n" && $1 in have { print FILENAME ": " $0 " cannot be had"; bad = 1 }
    END { exit bad }' "$out/.config" "$out/fragment" >&2
  # The same source makes the same kernel, whoever builds it.
  KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=hutch KBUILD_BUILD_HOST=hutch \
    long nice -n 19 make -s -C "$source" O="$out" ARCH="$2" -j"${JOBS:-$(nproc)}" "$3" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
  mkdir "$out/done"
  strip -o "$out/done/$3" "$out/$3"
  cp "$out/.config" "$out/done/$3.config"
  stamp "$4" >"$out/done/stamp"
  rm -rf "${dir:?}/$1"
  mv "$out/done" "$dir/$1"
  ls -l "$dir/$1/$3"
}

# ask finds out what the newest source is, and notes it.
ask() {
  guest_sources "$work/apt" stable
  # A mirror knows backports by the name of the release alone.
  codename=$(awk '$1 == "Codename:" { print $2; exit }' "$work"/apt/lists/*_stable_InRelease 2>/dev/null || true)
  guest_sources "$work/apt" sid experimental testing stable oldstable ${codename:+"$codename-backports"}
  found=$(newest)
  if [ -z "$found" ]; then
    echo "no mirror of this machine's has a package linux-source-*: $(sort -u "$work/apt/sources.list")" >&2
    exit 1
  fi
  echo "$found" >"$work/newest"
  mv "$work/newest" "$dir/newest"
}

# known sets package and version as they were noted.
known() { read -r package version <"$dir/newest"; }

# up_to_date says whether there is nothing to build.
up_to_date() { current uml "$uml" && current microvm "$microvm"; }

uml=$here/../runner/uml/kernel.config microvm=$here/../runner/kvm/kernel.config
if [ "${NEWEST:-}" = ask ] || [ -z "$(find "$dir/newest" -mmin -1440 2>/dev/null)" ] || ! known || ! up_to_date; then
  ask
  known
fi
if ! up_to_date; then
  echo "fetching $package $version"
  (cd "$work" && guest_apt apt-get -q download "$package=$version" >/dev/null)
  dpkg-deb -x "$work/$package"_*.deb "$work/package"
  tar -xf "$work/package/usr/src/$package.tar.xz" -C "$work"
  source=$work/$package
fi
build uml um linux "$uml"
build microvm x86_64 vmlinux "$microvm"
