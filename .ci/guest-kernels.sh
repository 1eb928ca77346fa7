#!/bin/sh
# guest-kernels.sh: small guest kernels, from Debian's kernel source and the configurations beside the engines: in
# KERNELS/uml/linux and KERNELS/microvm/vmlinux, where hutch finds them. About five minutes each on two cores.
set -eu
here=$(dirname "$0")
# shellcheck source=.ci/guest-apt.sh
. "$here/guest-apt.sh"
dir=$(kernels_dir)
"$here/deps.sh" guest-build
umask 022
mkdir -p "$dir"
work=$(mktemp -d "$dir/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

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
    nice -n 19 make -s -C "$source" O="$out" ARCH="$2" -j"${JOBS:-$(nproc)}" "$3" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
  mkdir "$out/done"
  strip -o "$out/done/$3" "$out/$3"
  cp "$out/.config" "$out/done/$3.config"
  stamp "$4" >"$out/done/stamp"
  rm -rf "${dir:?}/$1"
  mv "$out/done" "$dir/$1"
  ls -l "$dir/$1/$3"
}

guest_sources "$work/apt" stable
# A mirror knows backports by the name of the release alone.
codename=$(awk '$1 == "Codename:" { print $2; exit }' "$work"/apt/lists/*_stable_InRelease 2>/dev/null || true)
guest_sources "$work/apt" sid experimental testing stable oldstable ${codename:+"$codename-backports"}
found=$(newest)
if [ -z "$found" ]; then
  echo "no mirror of this machine's has a package linux-source-*: $(sort -u "$work/apt/sources.list")" >&2
  exit 1
fi
package=${found% *} version=${found#* }
uml=$here/../runner/uml/kernel.config microvm=$here/../runner/kvm/kernel.config
if ! current uml "$uml" || ! current microvm "$microvm"; then
  echo "fetching $package $version"
  (cd "$work" && guest_apt apt-get -q download "$package=$version" >/dev/null)
  dpkg-deb -x "$work/$package"_*.deb "$work/package"
  tar -xf "$work/package/usr/src/$package.tar.xz" -C "$work"
  source=$work/$package
fi
build uml um linux "$uml"
build microvm x86_64 vmlinux "$microvm"
