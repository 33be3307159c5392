#!/usr/bin/env bash
# pymesos, a Mesos client in Python that was not written here, below target/tools/pymesos: the long tests run it against
# the simulated master. What is downloaded from PyPI is pinned and checked; nothing is installed and nothing is built
# (its parser in C does not build for current Pythons; it has one in Python). Without Python or network it says so, and
# those tests are passed over.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=target/tools/pymesos

if [[ -e $target/lib/ready ]]; then
  echo "pymesos: $target/lib"
  exit 0
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "pymesos: python3 with pip is not on PATH; the tests with a foreign client are passed over"
  exit 0
fi

mkdir -p "$target/download"
cat >"$target/requirements.txt" <<'PINNED'
addict==2.4.0 --hash=sha256:249bb56bbfd3cdc2a004ea0ff4c2b6ddc84d53bc2194761636eb314d5cfa5dfc
http-parser==0.9.0 --hash=sha256:441d3a57c6227230f98aa97539da006fda0f8f4880bc4c5cd895ff2138a52621
kazoo==2.11.0 --hash=sha256:aa6be17159540dae4087661b8d4e24c7b58d4dc26170a2d5b8468b06712d84a9
pymesos==0.3.15 --hash=sha256:ee8d5ac0664467fcc70bb5a639d1520547523c80f0e83e73f689778f46a846de
six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
PINNED
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
  --no-binary pymesos,http-parser --dest "$target/download" --requirement "$target/requirements.txt"; then
  echo "pymesos: PyPI cannot be reached; the tests with a foreign client are passed over"
  exit 0
fi

rm -rf "$target/lib" "$target/unpacked"
mkdir -p "$target/lib" "$target/unpacked"
for archive in "$target"/download/*.tar.gz; do
  tar -xzf "$archive" -C "$target/unpacked"
done
cp -R "$target"/unpacked/*/pymesos "$target"/unpacked/*/http_parser "$target/lib/"
for wheel in "$target"/download/*.whl; do
  python3 -m zipfile -e "$wheel" "$target/lib"
done
rm -rf "$target/unpacked"
touch "$target/lib/ready"
echo "pymesos: $target/lib"
