#!/usr/bin/env bash
# The lab: hosts as containers with real systemd and Docker, agents of the simulated Mesos on them, a
# real etcd, and the controller. lab.sh up | down | status | machine NAME | test | test-all
#
# LAB_HOSTS says how many hosts (3, the last of them public): a1, a2, …, p1. Control groups are as the
# machine has them; where it has both versions, hosts with an even number see the first alone, as older
# systems do, and p1 the second alone, as newer ones. LAB_MESOS is the version of Mesos; LAB_CONTROLLER=0 leaves the controller out, LAB_KEEP=1
# leaves the lab up after the tests, LAB_PROGRAM is another build of the program.
#
# Everything is below target/lab and /run/calico-dcos-lab; containers and networks are found again by
# their label alone. Images are kept between runs, hosts are not.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/lab/common.sh
source tools/lab/common.sh
# shellcheck source=tools/lab/image.sh
source tools/lab/image.sh

readonly program=$lab/share/bin/calico-dcos

# Our own program, without its symbols: hosts fetch it.
install_program() {
  local built=target/debug/calico-dcos
  # What `make release-binary` has built of the same sources is what real hosts would run.
  if [[ target/static/calico-dcos -nt $built ]]; then built=target/static/calico-dcos; fi
  built=${LAB_PROGRAM:-$built}
  [[ -x $built ]] || die "$built is not there." "Run 'make build', or name a program in LAB_PROGRAM."
  mkdir -p "$lab/share/bin"
  if [[ ! $program -nt $built ]]; then
    strip -o "$program.new" "$built" 2>/dev/null || cp "$built" "$program.new"
    mv -f "$program.new" "$program"
  fi
  docker run --rm --label "$label=probe" -v "$lab/share:/lab:ro" "$host_image" /lab/bin/calico-dcos --version \
    >>"$lab/log/image.log" 2>&1 ||
    die "$built does not run on Debian 12; this machine has a newer C library." \
      "Build it static (RUSTFLAGS='-C target-feature=+crt-static' cargo build --target x86_64-unknown-linux-gnu)" \
      "and name it in LAB_PROGRAM."
}

network() {
  docker network inspect "$label" >/dev/null 2>&1 ||
    docker network create --label "$label=network" "$label" >/dev/null
  gateway=$(docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' "$label")
}

start_services() {
  local etcd=http://$gateway:2379
  start etcd target/tools/bin/etcd --data-dir "$lab/etcd" --enable-v2 --logger zap \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "http://$gateway:2380" --initial-advertise-peer-urls "http://$gateway:2380" \
    --initial-cluster "default=http://$gateway:2380"
  await 30 "etcd" curl --noproxy '*' -fsS "$etcd/v2/keys"
  start master "$program" sim master --listen "$gateway:5050" --agents "$gateway:5055" \
    --artifact "$program" --artifact-listen "$gateway:5060" ${LAB_MESOS:+--mesos-version "$LAB_MESOS"}
  await 30 "the simulated master" curl --noproxy '*' -fsS "http://$gateway:5050/health"
  printf 'LAB_AGENTS=%s\n' "$gateway:5055" >"$lab/share/agent.env"
  printf '%s\n' "$gateway" >"$lab/gateway"
  capabilities --missing 3>"$lab/share/missing-capabilities" >/dev/null
}

# The queue is as long as systemd makes it on a machine: if the journal does not read for 10 ms and the
# queue is full, systemd's lines are lost.
start_container() { # NAME KIND OPTION…
  local name=$1 kind=$2
  shift 2
  # shellcheck disable=SC2046 # one word per capability
  docker run --detach --name "$label-$name" --hostname "$name" --label "$label=$kind" \
    --network "$label" --network-alias "$name" \
    $(capabilities) --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --cgroupns=host --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --stop-signal SIGRTMIN+3 \
    --tmpfs /run --tmpfs /run/lock --tmpfs /tmp --sysctl net.unix.max_dgram_qlen=512 \
    --volume "$lab/share:/lab:ro" --env container=docker "$@" \
    "$host_image" /usr/local/sbin/lab-init >/dev/null
}

start_host() { # NAME [public]
  local data=$lab/hosts/$1 cgroups=
  case $1 in
  a*[02468]) cgroups=v1 ;;
  p1) cgroups=v2 ;;
  esac
  mkdir -p "$data/docker"
  # The inner Docker cannot keep its layers on those of the outer one.
  start_container "$1" host --volume "$data/docker:/var/lib/docker" \
    --env "LAB_CGROUPS=$cgroups" --env "LAB_PUBLIC=${2:-}"
}

# Up when systemd has nothing left to start, with what failed if something did.
await_host() {
  await 90 "systemd on $1" docker exec "$label-$1" systemctl is-system-running --wait
}

# A machine beside the hosts, with Debian and nothing else on it; for the tests.
machine() { # NAME
  use_docker && [[ -n $(hosts) ]] || die "no lab is up." "'make lab' brings one up."
  gateway=$(cat "$lab/gateway")
  host_image
  cp -L "$(PATH=$PWD/target/tools/bin:$PATH type -P etcdctl)" "$lab/share/bin/etcdctl"
  start_container "$1" machine --env LAB_BARE=1 --add-host "leader.mesos:$gateway"
  await_host "$1"
}

start_controller() {
  start controller "$program" run --etcd-endpoints "http://$gateway:2379" --allow-open-etcd \
    --lease-seconds 5 --mesos-master "http://$gateway:5050" \
    --artifact-url "http://$gateway:5060/calico-dcos"
}

up() {
  local name names=() count=${LAB_HOSTS:-3}
  ! use_docker || [[ -z $(hosts) ]] || die "a lab is up already." "See 'tools/lab/lab.sh status', or 'make lab-down'."
  mkdir -p "$lab"/{log,share/bin,hosts} "$run"
  use_docker --start
  # What the machine's own end has left behind.
  remove_hosts
  host_image
  install_program
  stand_ins
  network
  rm -rf "$lab/etcd"
  start_services
  for ((number = 1; number < count; number++)); do names+=("a$number"); done
  say "brings up ${names[*]} and p1, which is public"
  for name in "${names[@]}"; do start_host "$name"; done
  start_host p1 1
  for name in "${names[@]}" p1; do await_host "$name"; done
  [[ ${LAB_CONTROLLER:-1} == 0 ]] || start_controller
  status
}

status() {
  use_docker && [[ -n $(hosts) ]] || { say "no lab is up; 'make lab' brings one up"; return 1; }
  gateway=$(cat "$lab/gateway")
  docker ps --all --filter "label=$label" --format '     {{.Names}}: {{.Status}}'
  printf '     %s\n' "a shell on a host:  DOCKER_HOST=${DOCKER_HOST:-} docker exec -it $label-a1 bash" \
    "the master:         curl http://$gateway:5050/slaves" \
    "etcd:               --etcd-endpoints http://$gateway:2379" \
    "logs:               $lab/log"
}

# By label and by the IDs of processes that this script has started: nothing else is touched.
down() {
  stop controller "$program"
  stop master "$program"
  stop etcd etcd
  if use_docker; then
    remove_hosts
    docker network inspect "$label" >/dev/null 2>&1 && docker network rm "$label" >/dev/null
  fi
  if running dockerd dockerd >/dev/null; then
    stop dockerd dockerd
    restore_network
  fi
  # A Docker that was killed has not taken away its mounts.
  awk -v below="$run/" 'index($2, below) == 1 { print $2 }' /proc/mounts | xargs --no-run-if-empty umount
  rm -rf "$lab/hosts" "$lab/etcd" "$run"
  say "nothing of it runs any more; images stay below $lab"
}

# Those named `lab_all_…` take long, and `lab_old_…` want a Mesos from before 2017: both run only if all
# are wanted.
tests() { # [--all]
  local why status=0 which='not test(/(^|::)lab_(all|old)_/)'
  [[ ${1:-} != --all ]] || which='not test(/(^|::)lab_old_/)'
  why=$(obstacle)
  if [[ -n $why ]]; then
    say "NOT RUN: $why"
    return 0
  fi
  tests_in_a_lab "$which" || status=$?
  [[ ${1:-} != --all ]] || LAB_MESOS=1.1.0 tests_in_a_lab 'test(/(^|::)lab_old_/)' || status=$?
  return "$status"
}

tests_in_a_lab() { # WHICH
  local status=0
  ! use_docker || [[ -z $(hosts) ]] || down
  LAB_CONTROLLER=0 up
  LAB_GATEWAY=$gateway cargo nextest run --locked --cargo-quiet --test lab --no-fail-fast --run-ignored only -E "$1" --test-threads 1 ||
    status=$?
  ((status == 0)) || collect
  [[ -n ${LAB_KEEP:-} ]] || down
  return "$status"
}

# The hosts' own logs, for whoever looks for the reason of a failure.
collect() {
  local host
  for host in $(hosts --format '{{.Names}}'); do
    docker exec "$host" journalctl --no-pager >"$lab/log/$host.journal" 2>&1 || true
  done
  say "logs of all hosts are in $lab/log"
}

case ${1:-} in
up | down)
  why=$(obstacle)
  [[ -z $why ]] || die "$why."
  "$1"
  ;;
status) status ;;
machine) machine "$2" ;;
test) tests ;;
test-all) tests --all ;;
*)
  echo "lab.sh: up, down, status, machine, test or test-all, not '${1:-}'" >&2
  exit 2
  ;;
esac
