#!/bin/sh
# Installs what tests of and comparisons with the JavaScript p2pt need from npm, and bundles the pages for browsers.
# Does nothing that is already done. Needs Node 20 or newer; browsers are found at
# /usr/bin/chromium and /usr/bin/firefox-esr, or in $CHROMIUM and $FIREFOX.
set -eu
cd "$(dirname "$0")"

# npm leaves this file behind when an installation is complete; it records what was installed.
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ package.json -nt "$installed" ] || [ package-lock.json -nt "$installed" ]; then
    npm install --ignore-scripts --no-audit --no-fund
    touch "$installed"
fi

# Pages are built from p2pt's source; besides of the source before 1.6.2, and of the bundle that p2pt publishes, which is as
# old as that: neither knows of a channel's end, only of the connection's.
bundle() {
    made=$1.iife.js
    p2pt=$2
    shift 2
    for part in "$@" "$installed"; do
        if [ ! -f "$made" ] || [ "$part" -nt "$made" ]; then
            node_modules/.bin/esbuild "$1" --bundle --format=iife --alias:p2pt="$p2pt" --outfile="$made" --log-level=warning
        fi
    done
}
bundle page p2pt page.mjs core.mjs
bundle page-1.6.1 p2pt-1.6.1 page.mjs core.mjs
bundle page-published ./node_modules/p2pt/dist/p2pt.js page.mjs core.mjs
bundle apps p2pt apps.mjs apps-globals.mjs
bundle bench p2pt bench/page.mjs bench/core.mjs
