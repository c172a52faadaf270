#!/usr/bin/env bash
# Sees to a Chromium and a Chinese font for the browser tests, from Debian's packages where it may.
set -euo pipefail
packages="chromium fonts-noto-cjk"

have() {
  { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null 2>&1 &&
    { ! command -v dpkg >/dev/null || dpkg -s fonts-noto-cjk >/dev/null 2>&1; }
}

have && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "iop: installing $packages for the browser tests (once; about half a minute)"
  log=$(mktemp)
  if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -3 "$log" >&2
  rm -f "$log"
fi
echo "iop: no Chromium: browser tests are skipped; mend: apt-get install -y $packages" >&2
[ -z "${IOP_REQUIRE_BROWSER:-}" ]
