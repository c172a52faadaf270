#!/usr/bin/env bash
# Compares the contracts with those of the last release tag; without one there is nothing to break.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=$(git describe --tags --abbrev=0 2>/dev/null || true)
if [ -z "$tag" ] || ! git cat-file -e "$tag:proto/buf.yaml" 2>/dev/null; then
  echo "buf breaking: no release yet"
  exit 0
fi
echo "buf breaking against $tag"
.venv/bin/buf breaking proto --against ".git#tag=$tag,subdir=proto"
