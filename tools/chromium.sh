#!/usr/bin/env bash
# Puts a headless Chromium and its driver into target/tools/chromium, for the long tests and the pictures: `bin/chromedriver`
# and `bin/chromium` below it. Debian's packages, unpacked and not installed, with fonts of their own, so that pictures are
# the same everywhere.
#
# Safe to run again, and to interrupt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tools=$PWD/target/tools
readonly home=$tools/chromium

# shellcheck source=tools/debian.sh
source tools/debian.sh

# The driver would bring the Chromium that draws on screens; the one that does not is a third of it.
readonly packages=(chromium-headless-shell chromium-driver fonts-inter fonts-jetbrains-mono fonts-dejavu-core)

fetch() {
  local needed
  type -P apt-get dpkg-deb >/dev/null ||
    die "Chromium is taken from Debian's packages, and there is no apt-get here." \
      "Run the long tests on Debian."
  say "Chromium for the long tests: Debian's packages, unpacked here and not installed (about 1 minute) …"
  write_apt_config
  {
    apt-get -c "$scratch/apt.conf" -q=2 update || true
    # What it needs beside what is here; not what only sets up a desktop.
    needed=($(would_add chromium-headless-shell | grep -vE '^(xdg-utils|x11-utils)$')) &&
      unpack "$scratch/root" $(printf '%s\n' "${packages[@]}" "${needed[@]}" | sort -u)
  } >"$scratch/apt.log" 2>&1 ||
    die "Debian's packages could not be had. apt said:" "$(apt_said)" \
      "Check the network and /etc/apt/sources.list, then run tools/chromium.sh again."
  mkdir -p "$scratch/new/bin"
  mv "$scratch/root" "$scratch/new/root"
  write_fonts "$scratch/new/fonts.conf"
  write_wrapper "$scratch/new/bin/chromium" usr/lib/chromium/chromium-headless-shell
  write_wrapper "$scratch/new/bin/chromedriver" usr/bin/chromedriver
  rm -rf "$home"
  mv "$scratch/new" "$home"
  say "unpacked $("$home/bin/chromedriver" --version | cut -d' ' -f1,2), $(du -sh "$home" | cut -f1)"
}

# A programme of the unpacked tree, with the libraries and fonts beside it.
write_wrapper() {
  cat >"$1" <<SH
#!/bin/sh
home=\$(CDPATH='' cd -- "\$(dirname -- "\$0")/.." && pwd) || exit
for lib in "\$home"/root/usr/lib/*-linux-gnu*; do
  for lib in "\$lib" "\$lib"/pulseaudio; do
    LD_LIBRARY_PATH=\$lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
  done
done
FONTCONFIG_FILE=\$home/fonts.conf
export LD_LIBRARY_PATH FONTCONFIG_FILE
exec "\$home/root/$2" "\$@"
SH
  chmod +x "$1"
}

write_fonts() {
  cat >"$1" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>$home/root/usr/share/fonts</dir>
  <cachedir>$home/fonts</cachedir>
  <alias binding="same"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>sans-serif</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
  <alias binding="same"><family>monospace</family><prefer><family>JetBrains Mono</family></prefer></alias>
</fontconfig>
XML
}

main() {
  [[ ! -x $home/bin/chromedriver ]] || return 0
  mkdir -p "$tools"
  exec 9>"$tools/chromium.lock"
  ! type -P flock >/dev/null || flock 9
  [[ ! -x $home/bin/chromedriver ]] || return 0
  rm -rf "$tools"/chromium.scratch.* # of a run that was killed
  scratch=$(mktemp -d "$tools/chromium.scratch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  fetch
}

main "$@"
