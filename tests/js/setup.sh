#!/bin/sh
# Installs what the interoperability tests need from npm and bundles the page that runs p2pt in Chromium.
# Does nothing that is already done. Needs Node 20 or newer; Chromium is found at /usr/bin/chromium or in $CHROMIUM.
set -eu
cd "$(dirname "$0")"

# npm leaves this file behind when an installation is complete; it records what was installed.
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ package.json -nt "$installed" ] || [ package-lock.json -nt "$installed" ]; then
    npm install --ignore-scripts --no-audit --no-fund
    touch "$installed"
fi

# The bundle that p2pt publishes is older than its source and never says `peerclose`, so the page is built from source.
if [ ! -f page.iife.js ] || [ page.mjs -nt page.iife.js ] || [ core.mjs -nt page.iife.js ] || [ "$installed" -nt page.iife.js ]; then
    npm run --silent bundle
fi
