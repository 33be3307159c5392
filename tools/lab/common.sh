# shellcheck shell=bash
# Where the lab keeps things, how it speaks, and which Docker it uses; for the scripts beside it.

readonly label=calico-dcos-lab
readonly lab=$PWD/target/lab
# Sockets have short paths only.
readonly run=/run/$label

say() { printf '     lab: %s\n' "$*"; }
die() {
  printf '\nlab: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '     %s\n' "$@" >&2
  exit 4
}

# Why there can be no lab here; nothing if there can.
obstacle() {
  local tool
  if ((EUID != 0)); then
    echo "needs root: hosts are containers with systemd, Docker and mounts of their own"
    return
  fi
  for tool in docker dockerd debootstrap curl; do
    if ! PATH=$PATH:/usr/sbin type -P "$tool" >/dev/null; then
      echo "$tool is missing; on Debian and Ubuntu: apt-get install docker.io debootstrap curl"
      return
    fi
  done
  [[ -e /proc/self/ns/cgroup ]] || echo "needs a Linux with cgroup namespaces"
}

# --- processes -----------------------------------------------------------------------------------

# Starts a process that outlives this script, with its log and its ID in the lab.
start() { # NAME COMMAND…
  local name=$1
  shift
  setsid "$@" </dev/null >>"$lab/log/$name.log" 2>&1 &
  echo $! >"$run/$name.pid"
}

# The ID of a process that was started so and still runs, none if another one has its number now.
running() { # NAME PROGRAM
  local pid
  pid=$(cat "$run/$1.pid" 2>/dev/null) || return
  grep -qz -- "$2" "/proc/$pid/cmdline" 2>/dev/null || return
  echo "$pid"
}

stop() { # NAME PROGRAM
  local pid
  if pid=$(running "$1" "$2"); then
    kill "$pid" 2>/dev/null || true
    for _ in {1..150}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  rm -f "$run/$1.pid"
}

# Waits for something to become true.
await() { # SECONDS WHAT COMMAND…
  local seconds=$1 what=$2 until=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < until)) || die "$what is not there after $seconds s." "Logs are in $lab/log."
    sleep 0.2
  done
}

# --- Docker --------------------------------------------------------------------------------------

# The machine's Docker where it runs; else one of our own, which ends with the lab.
use_docker() {
  if running dockerd dockerd >/dev/null; then
    export DOCKER_HOST=unix://$run/docker.sock
  elif ! docker info >/dev/null 2>&1; then
    export DOCKER_HOST=unix://$run/docker.sock
    [[ ${1:-} != --start ]] && return 1
    say "no Docker runs here; starts one for the lab, with its data in $lab/docker"
    remember_network
    PATH=$PATH:/usr/sbin start dockerd dockerd --data-root "$lab/docker" --exec-root "$run/exec" \
      --pidfile "$run/docker-daemon.pid" --host "$DOCKER_HOST"
    await 60 "Docker" docker info
  fi
}

# What a Docker of our own changes in the machine's network and leaves there when it ends: its bridge, its
# rules, and that packets are forwarded. Nothing is taken away if an earlier Docker has left its own.
remember_network() {
  [[ ! -e $run/network && ! -e /sys/class/net/docker0 ]] || return 0
  {
    cat /proc/sys/net/ipv4/ip_forward
    PATH=$PATH:/usr/sbin iptables -S FORWARD | head -n 1
  } >"$run/network"
}

restore_network() {
  local forwards policy table rule PATH=$PATH:/usr/sbin:/sbin
  [[ -e $run/network ]] || return 0
  { read -r forwards && read -r policy; } <"$run/network"
  for table in filter nat; do
    iptables-save -t "$table" | sed -nE '/^-A.*(docker0|DOCKER)/s/^-A/-D/p; s/^:(DOCKER[^ ]*).*/-X \1/p' | sort |
      while read -r rule; do
        # shellcheck disable=SC2086 # words of iptables' own
        iptables -t "$table" $rule
      done
  done
  # shellcheck disable=SC2086
  iptables $policy
  ip link delete docker0 2>/dev/null || true
  echo "$forwards" >/proc/sys/net/ipv4/ip_forward
}

hosts() { docker ps --all --quiet --filter "label=$label" "$@"; }

remove_hosts() {
  # shellcheck disable=SC2046 # one word per container
  [[ -z $(hosts) ]] || docker rm --force --volumes $(hosts) >/dev/null
}

# What hosts may do: all that every Docker has a name for and this machine has. Not every machine has
# all of it (--missing names the rest on descriptor 3), and Docker refuses to give what is not there.
capabilities() {
  local bound number=0 name
  local -r all=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
    SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ)
  bound=$((16#$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)))
  for name in "${all[@]}"; do
    if ((bound >> number & 1)); then
      printf '%s\n' "--cap-add=$name"
    elif [[ ${1:-} == --missing ]]; then
      printf '%s\n' "CAP_$name" >&3
    fi
    number=$((number + 1))
  done
}
