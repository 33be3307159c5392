#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies against deny.toml, always; and known
# vulnerabilities, where their list can be reached.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly version=0.20.2
readonly tools=$PWD/target/tools
readonly advisories=https://github.com/RustSec/advisory-db

deny=$(type -P cargo-deny || true)
if [[ -z $deny ]]; then
  deny=$tools/cargo-deny/bin/cargo-deny
  if [[ $("$deny" --version 2>/dev/null) != "cargo-deny $version" ]]; then
    # Built to be built quickly: its own release profile takes several times as long, to save it
    # a few milliseconds.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
      tools/stage.sh "cargo-deny $version, built into target/tools" "about 2 minutes, once" \
      cargo install cargo-deny --version "$version" --locked --force \
      --root "$tools/cargo-deny" --target-dir "$tools/cargo-deny/build"
    rm -rf "$tools/cargo-deny/build"
  fi
fi

# Its warnings are about crates that are there twice; `cargo deny check bans` shows them.
"$deny" --log-level error check licenses bans sources

if ! GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$advisories" HEAD >/dev/null 2>&1; then
  echo "NOT CHECKED: known vulnerabilities. The list at $advisories cannot be reached from here."
  echo "             Run 'cargo deny check advisories' where it can, before a release."
  exit 0
fi
"$deny" --log-level error check advisories
