#!/usr/bin/env bash
# Puts etcd, etcdctl, protoc and, where there is none, a C compiler into target/tools/bin.
#
# What is on PATH is used. What is not is taken from the distribution's archive on Debian and
# Ubuntu: apt checks signatures and hashes as always, but the packages are only unpacked below
# target/tools, never installed. So no root is needed, nothing outside this folder changes, and
# Debian's etcd-server does not start the service that it would start if it were installed.
#
# Safe to run again, and to interrupt: packages are unpacked beside the old ones and then renamed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tools=$PWD/target/tools
readonly bin=$tools/bin
readonly root=$tools/root

# PATH as it was before the Makefile put our own folder in front.
# It may be there twice, side by side: then one pass leaves one.
outer_path=:$PATH:
while [[ $outer_path == *:"$bin":* ]]; do outer_path=${outer_path//:"$bin":/:}; done
outer_path=${outer_path#:}
readonly outer_path=${outer_path%:}

# shellcheck source=tools/debian.sh
source tools/debian.sh

# --- Does a program do what we need it for? Each gets the path of a program. ---------------------

etcd_3_4() { # the major and minor version in the first line of $1
  [[ ${1%%$'\n'*} =~ ([0-9]+)\.([0-9]+)\.[0-9]+ ]] || return 1
  ((BASH_REMATCH[1] > 3 || (BASH_REMATCH[1] == 3 && BASH_REMATCH[2] >= 4)))
}
good_etcd() { etcd_3_4 "$("$1" --version 2>/dev/null)"; }
good_etcdctl() { etcd_3_4 "$(ETCDCTL_API=3 "$1" version 2>/dev/null)"; }

# A protoc without its include files (Debian has them in another package) cannot compile etcd's.
good_protoc() {
  printf '%s\n' 'syntax = "proto3";' 'import "google/protobuf/descriptor.proto";' \
    'import "google/protobuf/struct.proto";' >"$scratch/probe.proto"
  "$1" --proto_path="$scratch" --descriptor_set_out=/dev/null "$scratch/probe.proto" 2>/dev/null
}

good_cc() {
  printf '%s\n' '#include <stdio.h>' 'int main(void) { return puts("") < 0; }' >"$scratch/probe.c"
  "$1" -o "$scratch/probe" "$scratch/probe.c" 2>/dev/null && "$scratch/probe" >/dev/null
}
good_ar() { "$1" --version >/dev/null 2>&1; }

# Whether a good $1 is on PATH; bin/$1 then leads there. Compilers are found by cargo itself.
use_from_path() {
  local found
  found=$(PATH=$outer_path type -P "$1") && "good_$1" "$found" || return 1
  case $1 in
  cc | ar) rm -f "$bin/$1" ;;
  *) ln -sfn "$found" "$bin/$1" ;;
  esac
}

# --- Debian's packages ---------------------------------------------------------------------------

# The names of the packages that hold the tools in $@, and of what these need beyond what is
# installed already: what an installation, only simulated, would add.
packages_for() {
  local tool added wanted=()
  for tool in "$@"; do
    case $tool in
    etcd) wanted+=(etcd-server) ;;
    etcdctl) wanted+=(etcd-client) ;;
    protoc) wanted+=(protobuf-compiler libprotobuf-dev) ;;
    cc | ar) wanted+=(gcc libc6-dev) ;;
    esac
  done
  added=$(would_add "${wanted[@]}") || return
  {
    printf '%s\n' "${wanted[@]}" "$added"
    # The compiler sees nothing of the machine but its own root, so libc goes in whole.
    case " $* " in *' cc '*) printf '%s\n' libc6 libc6-dev libgcc-s1 libcrypt-dev linux-libc-dev ;; esac
  } | sort -u | sed '/^$/d'
}

fetch() {
  local packages old
  if ! type -P apt-get dpkg-deb >/dev/null; then
    die "not found, or not usable: $*." \
      "On Debian and Ubuntu this script fetches them itself; on other systems please install:" \
      "  etcd and etcdctl 3.4 or newer, protoc with its include files (google/protobuf/*.proto)," \
      "  and a C compiler; then run 'make tools' again."
  fi
  say "not on PATH: $*. Taking Debian's packages, unpacked here and not installed (about 1 minute) …"
  write_apt_config
  # shellcheck disable=SC2086 # one word per package
  {
    # A third-party source that fails must not stop us: what comes after fails if ours is missing.
    apt-get -c "$scratch/apt.conf" -q=2 update || true
    packages=$(packages_for "$@") && unpack "$scratch/root" $packages
  } >"$scratch/apt.log" 2>&1 ||
    die "Debian's packages could not be had. apt said:" "$(apt_said)" \
      "Check the network and /etc/apt/sources.list, or install $* yourself, then run 'make tools' again."

  say "unpacked $(wc -w <<<"$packages" | tr -d ' ') packages, $(du -sh "$scratch/root" | cut -f1)"

  old=$scratch/old
  [[ ! -e $root ]] || mv "$root" "$old"
  mv "$scratch/root" "$root"
}

# Writes bin/$1, which runs $2 of the unpacked tree, with the libraries that were unpacked with it.
write_wrapper() {
  cat >"$scratch/wrapper" <<SH
#!/bin/sh
# Runs what tools/setup.sh unpacked, with the libraries that came with it.
root=\$(CDPATH='' cd -- "\$(dirname -- "\$0")/../root" && pwd) || exit
for lib in "\$root"/usr/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH=\$lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
$2
SH
  chmod +x "$scratch/wrapper"
  mv -f "$scratch/wrapper" "$bin/$1"
}

# shellcheck disable=SC2016 # these are expanded when the wrapper runs
install_from_root() {
  case $1 in
  etcd | etcdctl) ln -sfn "../root/usr/bin/$1" "$bin/$1" ;;
  protoc) write_wrapper protoc 'exec "$root/usr/bin/protoc" "$@"' ;;
  cc) write_wrapper cc 'PATH=$root/usr/bin:$PATH exec "$root/usr/bin/gcc" --sysroot="$root" "$@"' ;;
  ar) write_wrapper ar 'exec "$root/usr/bin/ar" "$@"' ;;
  esac
  "good_$1" "$bin/$1" ||
    die "$1 was unpacked but does not work here." "Please install it and run 'make tools' again."
}

# --- What is there, what is missing --------------------------------------------------------------

main() {
  local tool absent=() missing=()

  mkdir -p "$bin"
  # Two runs at a time would pull the tree from under each other.
  exec 9>"$tools/lock"
  ! type -P flock >/dev/null || flock 9
  rm -rf "$tools"/scratch.* # of a run that was killed
  scratch=$(mktemp -d "$tools/scratch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT

  type -P cargo >/dev/null ||
    die "no Rust toolchain: cargo is not on PATH." "Install it from https://rustup.rs and run 'make tools' again."

  for tool in etcd etcdctl protoc cc ar; do
    use_from_path "$tool" || absent+=("$tool")
  done
  for tool in ${absent[@]+"${absent[@]}"}; do
    [[ -x $bin/$tool ]] && "good_$tool" "$bin/$tool" || missing+=("$tool")
  done
  ((${#missing[@]} > 0)) || return 0

  # All that PATH lacks, not only what is missing: the tree is replaced as a whole.
  fetch "${absent[@]}"
  for tool in "${absent[@]}"; do
    install_from_root "$tool"
  done
}

main "$@"
