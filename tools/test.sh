#!/usr/bin/env bash
# Tests, as $1 says: build them, run the quick ones (what `make test` runs), or run the long ones
# (those marked `#[ignore = "long: …"]`). With cargo-nextest where it is there, else with cargo's own runner.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What only the long ones need.
[[ $1 != long ]] || { tools/zookeeper.sh && tools/promtool.sh; }

if type -P cargo-nextest >/dev/null; then
  runner=(cargo nextest run --locked --no-tests pass)
  [[ -z ${CI:-} ]] || runner+=(--profile ci)
  case $1 in
  build) exec "${runner[@]}" --no-run ;;
  quick) exec "${runner[@]}" --cargo-quiet ;;
  long) exec "${runner[@]}" --cargo-quiet --run-ignored only -E 'not binary(lab)' ;;
  esac
else
  case $1 in
  build) exec cargo test --locked --tests --no-run ;;
  quick)
    echo "     cargo-nextest is not on PATH, so cargo test runs them. To have each test in a process of its own,"
    echo "     and slow ones named: cargo install cargo-nextest --locked"
    exec cargo test --locked --quiet --tests
    ;;
  long) exec cargo test --locked --quiet --tests -- --ignored --skip lab_ ;;
  esac
fi
echo "test.sh: build, quick or long, not '$1'" >&2
exit 2
