#!/usr/bin/env bash
# Tests, as $1 says: build them, run the quick ones (what `make test` runs), run the long ones (those marked
# `#[ignore = "long: …"]`), or the one of them that draws the pictures in docs. With cargo-nextest where it is there, else with
# cargo's own runner.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What only the long ones need.
[[ $1 != long ]] || { tools/zookeeper.sh && tools/promtool.sh && tools/schemathesis.sh; }
[[ $1 != long && $1 != pictures ]] || tools/chromium.sh
[[ $1 != pictures ]] || export CALICO_DCOS_PICTURES=$PWD/docs/pictures

if type -P cargo-nextest >/dev/null; then
  runner=(cargo nextest run --locked --no-tests pass)
  [[ -z ${CI:-} ]] || runner+=(--profile ci)
  case $1 in
  build) exec "${runner[@]}" --no-run ;;
  quick) exec "${runner[@]}" --cargo-quiet ;;
  long) exec "${runner[@]}" --cargo-quiet --run-ignored only -E 'not binary(lab)' ;;
  pictures) exec "${runner[@]}" --cargo-quiet --run-ignored only --test web -E 'test(pictures)' ;;
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
  pictures) exec cargo test --locked --quiet --test web -- --ignored pictures ;;
  esac
fi
echo "test.sh: build, quick, long or pictures, not '$1'" >&2
exit 2
