#!/usr/bin/env bash
# Pins what requirements*.in ask for: universal (every Python from 3.11 on), hashed, without any address.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m uv --version >/dev/null 2>&1 || .venv/bin/python -m pip install -q --disable-pip-version-check uv
for name in requirements requirements-dev requirements-portal; do
  .venv/bin/python -m uv pip compile "$name.in" --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet -o "$name.lock" "$@"
  if grep -nE '://|--(extra-)?index-url|--find-links' "$name.lock"; then
    echo "iop: $name.lock carries an address" >&2
    exit 1
  fi
done
