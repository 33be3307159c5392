#!/usr/bin/env bash
# schemathesis, a checker of APIs that was not written here, below target/tools/schemathesis: a long test lets it ask the API
# whatever its OpenAPI document allows, and read the answers as the document describes them. What is downloaded from PyPI
# is pinned with its digests (tools/schemathesis.txt, by `uv pip compile --generate-hashes --universal`); nothing is
# installed elsewhere and nothing is built. Without Python or network it says so, and the test is passed over.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=target/tools/schemathesis

if [[ -e $target/ready ]]; then
  echo "schemathesis: $target"
  exit 0
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "schemathesis: python3 with pip is not on PATH; the test with a foreign checker is passed over"
  exit 0
fi

rm -rf "$target"
mkdir -p "$target"
if ! python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
  --root-user-action ignore --target "$target/lib" --requirement tools/schemathesis.txt; then
  echo "schemathesis: PyPI cannot be reached, or has nothing for this Python; the test with a foreign checker is passed over"
  exit 0
fi
touch "$target/ready"
echo "schemathesis: $target"
