# shellcheck shell=bash
# Debian's packages without installing them; for the scripts beside it, which set `scratch` to a
# folder of their own.

say() { printf '     tools: %s\n' "$*"; }
die() {
  printf '\ntools: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '       %s\n' "$@" >&2
  exit 4
}

# Our own lists and cache. Hooks that would run after an update touch the machine, so none run.
write_apt_config() {
  mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/cache/archives/partial"
  cat >"$scratch/apt.conf" <<CONF
Dir::State::Lists "$scratch/apt/lists";
Dir::Cache "$scratch/apt/cache";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
}

# What an installation of $@, only simulated, would add; one package a line.
would_add() {
  local simulated
  simulated=$(apt-get -c "$scratch/apt.conf" --no-install-recommends --simulate install "$@") || return
  # "Inst NAME (new version …)"; with an installed version in brackets it is there already.
  sed -n 's/^Inst \([^ ]*\) (.*/\1/p' <<<"$simulated"
}

# Unpacks $2… into $1, below scratch.
unpack() {
  local package into=$1
  shift
  mkdir -p "$scratch/debs" "$into"
  (cd "$scratch/debs" && apt-get -c "$scratch/apt.conf" -q=2 download "$@") || return
  for package in "$scratch"/debs/*.deb; do
    dpkg-deb --extract "$package" "$into" || return
  done
}

# What apt said that matters, from scratch/apt.log, for die.
apt_said() { grep -E '^(E|W):' "$scratch/apt.log" | sort -u | sed '1!s/^/       /'; }
