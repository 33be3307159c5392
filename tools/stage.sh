#!/usr/bin/env bash
# Runs one stage of a build: stage.sh [--show] NAME EXPECTED COMMAND…
#
# One line when it starts, with how long it is expected to take, and one when it ends, with how long
# it took; in between, a sign of life every 20 s. The command's output goes to
# target/log/NAME.log and is shown if it fails. --show lets the output through instead, for commands
# that are worth watching.
set -euo pipefail

show=false
if [[ $1 == --show ]]; then
  show=true
  shift
fi
readonly name=$1 expected=$2
shift 2
readonly log=target/log/${name//[^a-z0-9.]/-}.log
mkdir -p "${log%/*}"

# How long it has been, as minutes:seconds.
elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

printf '==>  %s (%s)\n' "$name" "$expected"
if $show; then
  status=0
  "$@" || status=$?
else
  # The sleeper holds no pipe of ours open, so that nobody waits for it after it was orphaned.
  while sleep 20 >/dev/null 2>&1; do
    last=$(tail -n 20 "$log" 2>/dev/null | tr -d '\r' | grep '[^[:space:]]' | tail -n 1 | cut -c 1-100 || true)
    printf '     %s %s: %s\n' "$name" "$(elapsed)" "${last#"${last%%[![:space:]]*}"}"
  done &
  ticker=$!
  trap 'kill "$ticker" 2>/dev/null || true' EXIT
  # In the foreground, so that Ctrl-C reaches it.
  status=0
  "$@" >"$log" 2>&1 || status=$?
  kill "$ticker" 2>/dev/null || true
  # Without cargo's hundreds of lines of progress.
  ((status == 0)) || grep -vE '^ *(Blocking|Checking|Compiling|Documenting|Downloaded|Downloading|Locking|Updating) ' "$log" >&2 || true
fi

if ((status == 0)); then
  printf 'ok   %s %s\n' "$name" "$(elapsed)"
else
  printf 'FAIL %s %s, exit code %d\n' "$name" "$(elapsed)" "$status" >&2
fi
exit "$status"
