#!/usr/bin/env bash
# Puts Prometheus' promtool into target/tools/bin, for the long tests: it checks the metrics and examples/alerts.yaml.
# The one on PATH, or Debian's package, unpacked and not installed.
#
# Safe to run again, and to interrupt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tools=$PWD/target/tools
readonly bin=$tools/bin

# shellcheck source=tools/debian.sh
source tools/debian.sh

[[ ! -x $bin/promtool ]] || exit 0
mkdir -p "$bin"
if found=$(type -P promtool); then
  ln -sfn "$found" "$bin/promtool"
  exit 0
fi
type -P apt-get dpkg-deb >/dev/null ||
  die "promtool is taken from Debian's packages, and there is no apt-get here." \
    "Install Prometheus, or run the long tests on Debian or Ubuntu."
say "promtool for the long tests: Debian's package, unpacked here and not installed …"
exec 9>"$tools/promtool.lock"
! type -P flock >/dev/null || flock 9
[[ ! -x $bin/promtool ]] || exit 0
rm -rf "$tools"/promtool.scratch.* # of a run that was killed
scratch=$(mktemp -d "$tools/promtool.scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
write_apt_config
{
  apt-get -c "$scratch/apt.conf" -q=2 update || true
  unpack "$scratch/root" prometheus
} >"$scratch/apt.log" 2>&1 ||
  die "Debian's package could not be had. apt said:" "$(apt_said)" \
    "Check the network and /etc/apt/sources.list, then run tools/promtool.sh again."
# In the same file system, so that it is there whole or not at all.
mv "$scratch/root/usr/bin/promtool" "$bin/promtool"
say "unpacked $("$bin/promtool" --version 2>&1 | head -n 1)"
