#!/usr/bin/env bash
# Builds the programme as hosts run it: one static file without symbols, at target/static/calico-dcos.
#
# glibc is linked in, as hosts have any version of it or none. What such a programme must not do
# is to look up names by the C library, which would load modules of the host's own version; ours
# looks them up itself (src/node/dns.rs).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target=x86_64-unknown-linux-gnu
readonly built=target/$target/artifact/calico-dcos
readonly program=target/static/calico-dcos

die() {
  printf 'error: %s\n' "$@" >&2
  exit 1
}

# No path of the machine that builds gets into the programme, so that it is the same bytes anywhere.
remap="--remap-path-prefix=$PWD=/calico-dcos --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

# With a target named, procedural macros and build scripts are not meant: they cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static $remap" \
  cargo build --locked --profile artifact --target "$target" --bin calico-dcos

if readelf --program-headers --wide "$built" | grep -q INTERP; then
  die "$built is not static."
fi
version=$("$built" --version)
mkdir -p "${program%/*}"
cp "$built" "$program.new"
mv -f "$program.new" "$program"
size=$(stat --format %s "$program")
printf '%s: %s, %d.%d MB\n' "$program" "$version" $((size / 1000000)) $((size % 1000000 / 100000))
