#!/bin/sh
# Installs what tests of and comparisons with the JavaScript p2pt need from npm, and bundles the pages for Chromium.
# Does nothing that is already done. Needs Node 20 or newer; Chromium is found at /usr/bin/chromium or in $CHROMIUM.
set -eu
cd "$(dirname "$0")"

# npm leaves this file behind when an installation is complete; it records what was installed.
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ package.json -nt "$installed" ] || [ package-lock.json -nt "$installed" ]; then
    npm install --ignore-scripts --no-audit --no-fund
    touch "$installed"
fi

# The bundle that p2pt publishes is older than its source and never says `peerclose`, so pages are built from source.
bundle() {
    made=$1.iife.js
    shift
    for part in "$@" "$installed"; do
        if [ ! -f "$made" ] || [ "$part" -nt "$made" ]; then
            node_modules/.bin/esbuild "$1" --bundle --format=iife --outfile="$made" --log-level=warning
        fi
    done
}
bundle page page.mjs core.mjs
bundle bench bench/page.mjs bench/core.mjs
