# shellcheck shell=sh
# guest-apt.sh, sourced: apt with lists of its own, so that the machine's sources stay as they are.
# guest_apt COMMAND...: apt-get or apt-cache in $apt_dir, once guest_sources has been called.

# guest_sources DIR SUITE...: looks at every Debian mirror that this machine is configured for, in these suites. apt
# checks the signatures of what it fetches; a suite that a mirror lacks is left out. With guest_security=yes the mirrors of
# security updates too.
guest_sources() {
  apt_dir=$1
  shift
  mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial"
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$keyring" ] || keyring=
  # shellcheck disable=SC2016 # apt's variable, not the shell's
  for label in Debian ${guest_security:+Debian-Security}; do
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Label: $label"
  done | sort -u | while read -r uri; do
    for suite; do
      echo "deb ${keyring:+[signed-by=$keyring]} $uri $suite main"
    done
  done >"$apt_dir/sources.list"
  if [ ! -s "$apt_dir/sources.list" ]; then
    echo "no Debian mirror is configured here: add one to /etc/apt, and run apt-get update" >&2
    return 1
  fi
  # A mirror that answers for one suite is enough; what was fetched is looked at next.
  guest_apt apt-get -q update >"$apt_dir/log" 2>&1 || true
}

guest_apt() {
  command=$1
  shift
  "$command" -o "Dir::State::lists=$apt_dir/lists" -o "Dir::Etc::sourcelist=$apt_dir/sources.list" -o Dir::Etc::sourceparts=- \
    -o "Dir::Cache=$apt_dir/cache" -o Dir::State::status=/dev/null -o Acquire::AllowInsecureRepositories=false \
    -o Acquire::Languages=none \
    -o APT::Sandbox::User= -o APT::Get::AllowUnauthenticated=false "$@"
}

# kernels_dir: where hutch looks for guest kernels.
kernels_dir() {
  if [ "$(id -u)" = 0 ]; then
    echo /var/cache/hutch/kernels
  else
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/hutch/kernels"
  fi
}
