#!/usr/bin/env bash
# Installs what the lock names into .venv: `tools/setup.sh runtime` or `tools/setup.sh dev`.
# Does nothing when that is done. One line says what is missing and how to mend it.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-runtime}
lock=requirements.lock
if [ "$kind" = dev ]; then lock=requirements-dev.lock; fi

fail() { echo "iop: $*" >&2; exit 1; }
digest() { sha256sum "$1" | cut -d' ' -f1; }
done_file() { echo ".venv/iop-$1.sha256"; }
installed() { [ -f "$(done_file "$1")" ] && [ "$(cat "$(done_file "$1")")" = "$(digest "$2")" ]; }
works() { .venv/bin/python -c '' 2>/dev/null; }

# The development lock holds the runtime's packages too.
ready() {
  works || return 1
  installed dev requirements-dev.lock && return 0
  [ "$kind" = runtime ] && installed runtime requirements.lock
}

ready && exit 0

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14; do
    if command -v "$name" >/dev/null &&
       "$name" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  fail "Python 3.11 or newer is missing: apt-get install -y python3 python3-venv, or set PYTHON"
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv_module() {
  local package=python3-venv
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ "$1" = /usr/bin/python3 ]; then
    echo "iop: installing $package"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } \
      >build/apt.log 2>&1 || {
      tail -3 build/apt.log >&2
      fail "$package could not be installed: apt-get install -y $package"
    }
  else
    fail "$1 has no venv module: apt-get install -y $package (with sudo), or set PYTHON to another one"
  fi
}

mkdir -p build
exec 9>build/setup.lock
flock 9
ready && exit 0

# A folder left by an interrupted installation may have no pip yet.
if ! works || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  python=$(find_python)
  has_venv "$python" || install_venv_module "$python"
  echo "iop: making .venv with $("$python" --version)"
  rm -rf .venv
  "$python" -m venv .venv
fi

count=$(grep -cE '^[A-Za-z0-9].*==' "$lock")
echo "iop: installing about $count pinned packages into .venv (once; half a minute to three)"
log=build/setup.log
: >"$log"
show() {
  awk -v total="$count" -v tty="$([ -t 1 ] && echo 1 || echo 0)" '
    { print >> "'"$log"'" }
    /^Collecting / { n++; if (tty) printf "\r\033[K  %d/%d %s", n, total, $2; else if (n % 20 == 0) printf "  %d/%d\n", n, total; fflush() }
    /^Installing collected/ { if (tty) printf "\r\033[K"; print "  unpacking"; fflush() }'
}
if ! .venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r "$lock" 2>>"$log" | show; then
  grep -E '^(ERROR|error)' "$log" | head -3 >&2 || tail -3 "$log" >&2
  fail "the packages could not be installed: is the Python package index reachable? (whole log: $log)"
fi

# Generated contracts and the SDK are importable wherever this environment's Python starts.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n%s\n' "$PWD/build/gen" "$PWD/sdk" >"$site/iop_generated.pth"
digest "$lock" >"$(done_file "$kind")"
