#!/usr/bin/env bash
# Writes to standard output what the programme is built from, as CycloneDX 1.5 (JSON): each crate,
# also those that run while it is built, with version, licence and digest. From Cargo.lock and what
# cargo knows of it, without the network; the same input gives the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly epoch=${SOURCE_DATE_EPOCH:?the time of the release, in seconds since 1970}
timestamp=$(date --utc --date "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

# Each crate once: a line with its name, its version and its licence.
crates() {
  cargo tree --offline --locked --target x86_64-unknown-linux-gnu --edges normal,build --prefix none --no-dedupe \
    --format '{p}|{l}' | sed -E 's/ \((proc-macro|\*|\/[^)]*)\)//g; s/ v([^ |]+) *\|/|\1|/' | LC_ALL=C sort -u
}

# The digests that the lock file has: a line with name, version and SHA-256.
digests() {
  awk -F '"' '/^name = /{n=$2} /^version = /{v=$2} /^checksum = /{print n "|" v "|" $2}' Cargo.lock
}

awk -F '|' -v timestamp="$timestamp" '
  NR == FNR { digest[$1 "|" $2] = $3; next }
  $1 == "calico-dcos" { own = $2; next }
  {
    purl = "pkg:cargo/" $1 "@" $2
    one = "    {\n      \"type\": \"library\",\n      \"bom-ref\": \"" purl "\",\n      \"name\": \"" $1 "\",\n      \"version\": \"" $2 "\""
    sub(/\+/, "%2B", purl)
    one = one ",\n      \"purl\": \"" purl "\""
    # Older crates write MIT/Apache-2.0, which means OR.
    gsub(/ *\/ */, " OR ", $3)
    if ($3 != "") one = one ",\n      \"licenses\": [{\"expression\": \"" $3 "\"}]"
    if (($1 "|" $2) in digest) one = one ",\n      \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" digest[$1 "|" $2] "\"}]"
    all = all (all == "" ? "" : ",\n") one "\n    }"
  }
  END {
    print "{\n  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n  \"version\": 1,"
    print "  \"metadata\": {\n    \"timestamp\": \"" timestamp "\","
    print "    \"component\": {\"type\": \"application\", \"bom-ref\": \"calico-dcos\", \"name\": \"calico-dcos\", \"version\": \"" own "\", \"licenses\": [{\"expression\": \"Apache-2.0\"}]}"
    print "  },\n  \"components\": [\n" all "\n  ]\n}"
  }
' <(digests) <(crates)
