#!/usr/bin/env bash
# Puts a ZooKeeper server into target/tools/zookeeper, for the long tests: run `bin/zookeeper
# CONFIG` below it. Debian's packages, unpacked and not installed; Java too, where none is on PATH.
#
# Safe to run again, and to interrupt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tools=$PWD/target/tools
readonly home=$tools/zookeeper

# shellcheck source=tools/debian.sh
source tools/debian.sh

# The server, and what it needs to run alone: no web server, no metrics.
readonly jars=(
  libzookeeper-java libslf4j-java libnetty-java libsnappy-java
  libdropwizard-metrics-java libjackson2-core-java libjackson2-databind-java
  libjackson2-annotations-java libcommons-cli-java
)

good_java() { "$1" -version >/dev/null 2>&1; }

# Links that lead to where a package would be installed lead into the unpacked tree instead.
relink() {
  local link target
  find "$1" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    target=$(readlink "$link")
    [[ ! -e $1$target ]] || ln -sfn "$home/root$target" "$link"
  done
}

fetch() {
  local java=() added
  type -P apt-get dpkg-deb >/dev/null ||
    die "ZooKeeper is taken from Debian's packages, and there is no apt-get here." \
      "Run the long tests on Debian or Ubuntu."
  say "ZooKeeper for the long tests: Debian's packages, unpacked here and not installed (about 1 minute) …"
  write_apt_config
  {
    apt-get -c "$scratch/apt.conf" -q=2 update || true
    if ! { type -P java >/dev/null && good_java java; }; then
      # The number in its name is another one in each release.
      java=($(apt-cache -c "$scratch/apt.conf" depends default-jre-headless |
        sed -n 's/.*Depends: \(openjdk-[0-9]*-jre-headless\)$/\1/p' | head -n 1)) &&
        added=$(would_add "${java[@]}") &&
        # What it needs beside what is here; not what only sets up an installation.
        java+=($(grep -vE '^(ca-certificates|java-common|default-jre)' <<<"$added" || true))
    fi &&
      unpack "$scratch/root" $(printf '%s\n' "${jars[@]}" ${java[@]+"${java[@]}"} | sort -u)
  } >"$scratch/apt.log" 2>&1 ||
    die "Debian's packages could not be had. apt said:" "$(apt_said)" \
      "Check the network and /etc/apt/sources.list, then run tools/zookeeper.sh again."
  relink "$scratch/root"
  mkdir -p "$scratch/new/bin"
  mv "$scratch/root" "$scratch/new/root"
  write_wrapper "$scratch/new/bin/zookeeper"
  rm -rf "$home"
  mv "$scratch/new" "$home"
  say "unpacked ZooKeeper, $(du -sh "$home" | cut -f1)"
}

write_wrapper() {
  cat >"$1" <<'SH'
#!/bin/sh
# Runs a ZooKeeper server on the configuration file $1, and nothing beside it.
home=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit
java=java
for found in "$home"/root/usr/lib/jvm/java-*/bin/java; do
  [ -x "$found" ] || continue
  java=$found
  for lib in "$home"/root/usr/lib/*-linux-gnu*; do
    LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done
  export LD_LIBRARY_PATH
  break
done
for jar in zookeeper zookeeper-jute slf4j-api slf4j-nop metrics-core snappy-java commons-cli \
  jackson-core jackson-databind jackson-annotations netty-all; do
  path=${path:+$path:}$home/root/usr/share/java/$jar.jar
done
exec "$java" -Xmx64m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dzookeeper.admin.enableServer=false \
  -Dzookeeper.4lw.commands.whitelist='*' \
  -cp "$path" org.apache.zookeeper.server.quorum.QuorumPeerMain "$1"
SH
  chmod +x "$1"
}

main() {
  [[ ! -x $home/bin/zookeeper ]] || return 0
  mkdir -p "$tools"
  exec 9>"$tools/zookeeper.lock"
  ! type -P flock >/dev/null || flock 9
  [[ ! -x $home/bin/zookeeper ]] || return 0
  rm -rf "$tools"/zookeeper.scratch.* # of a run that was killed
  scratch=$(mktemp -d "$tools/zookeeper.scratch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  fetch
}

main "$@"
