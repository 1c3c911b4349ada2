# The same as CI.
ci:
    .ci/run

# The quick checks before a commit.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo test --workspace

# Licences, bans, sources and advisories of what is depended on; the last need a network that reaches github.com.
deny:
    .ci/deny

# Writes the public API of the crates into api/*.txt, which CI compares. Needs Rust 1.95.0, or rustup to bring it.
api:
    cp Cargo.lock api/Cargo.lock
    cargo run --quiet --manifest-path api/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" -- renew

# The suites against the JavaScript p2pt; needs npm, chromium and firefox-esr.
interop:
    tests/js/setup.sh
    tests/wasm/pages
    examples/web/build
    p2pt-web/build-addon dev
    cargo test -p p2pt-tests --test interop_js --test interop_library --test interop_node --test interop_chromium --test interop_firefox --test interop_leave --test interop_descriptions --test interop_signed_descriptions --test interop_apps --test interop_modules --test interop_wasm --test interop_networks --test interop_package --test interop_addon --test interop_trust --test interop_pages --test interop_site -- --ignored --test-threads=1

# The conformance suite and the basics of the backend `web`; needs npm, chromium-driver and firefox-esr.
web:
    tests/js/setup.sh
    tests/wasm/toolchain setup
    CHROMEDRIVER=$(command -v chromedriver) WASM_BINDGEN_TEST_TIMEOUT=600 tests/wasm/toolchain cargo test --locked -p p2pt-transport --features conformance --test web_conformance --test web_basics
    tests/wasm/firefox --locked -p p2pt-transport --features conformance --test web_conformance --test web_basics

# The npm package: builds it into p2pt-web/dist and tests it; needs npm and chromium.
p2pt-web:
    p2pt-web/build
    p2pt-web/build-addon
    p2pt-web/check

# Real WebRTC under kills, freezes, cut links and lost trackers; needs root or user namespaces, and iproute2.
soak seconds="600" rounds="9" processes="26":
    P2PT_SOAK_SECONDS={{seconds}} P2PT_SOAK_ROUNDS={{rounds}} P2PT_SOAK_PROCESSES={{processes}} cargo test -p p2pt-tests --test soak -- --ignored --nocapture

# What an idle node costs, beside the JavaScript p2pt; needs npm and what the soak needs, and takes 13 minutes.
idle-cost:
    tests/js/setup.sh
    cargo run --release -p p2pt-measure --bin idle_cost

# This library beside the JavaScript p2pt and the bare data channel, into BENCHMARKS.md; needs npm and chromium, and half
# an hour of a machine that does nothing else. `just compare --help` tells what may be left out. With `--baseline DIR`, the
# transport beside that of an earlier checkout: needs neither npm nor chromium, and some four minutes a round.
compare *options:
    case " {{options}} " in *" --baseline"*|*" --sessions"*) ;; *) tests/js/setup.sh ;; esac
    cargo run --release -p p2pt-measure --bin compare -- {{options}}

# This library in a page beside the JavaScript p2pt in a page, each with its own kind and with a native peer, into the section
# "In a browser" of BENCHMARKS.md; needs npm, chromium and what builds for browsers, and two minutes a round.
compare-pages *options:
    tests/js/setup.sh
    tests/wasm/pages bench-page
    cargo run --release -p p2pt-measure --bin compare -- --pages {{options}}

# p2pt-web in Node beside npm p2pt, for the table in BENCHMARKS.md; needs npm, and a machine that does nothing else.
compare-node rounds="3":
    tests/js/setup.sh
    p2pt-web/build
    p2pt-web/build-addon
    cargo build --release --locked -p p2pt-cli
    P2PT_BINARY="${CARGO_TARGET_DIR:-target}/release/p2pt" node tests/js/bench/compare-node.mjs {{rounds}}

# Feeds a target of fuzz/fuzz_targets for so many seconds; needs nightly Rust and cargo-fuzz. See CONTRIBUTING.
fuzz target seconds="300":
    cp Cargo.lock fuzz/Cargo.lock
    mkdir -p fuzz/found/{{target}}
    cargo +nightly fuzz run {{target}} fuzz/found/{{target}} fuzz/corpus/{{target}} -- -max_total_time={{seconds}} -max_len=3000 -timeout=20

# What the codecs and the state machines cost, beside aquatic's and serde_json: all of it takes two minutes once it is
# built, `just bench codec` only what is in benches/codec.rs.
bench name="*":
    cp Cargo.lock benches/Cargo.lock
    cargo bench --manifest-path benches/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --bench '{{name}}'

# What the embedded tracker holds, beside npm bittorrent-tracker and, where its program is given, aquatic_ws: prints a table
# after three minutes for each round. Linux, npm. `cargo install aquatic_ws` needs cmake and a C compiler, and its program
# io_uring and 512 KiB of locked memory (`ulimit -l`).
tracker-load aquatic="" rounds="3":
    tests/js/setup.sh
    cargo run --release -p p2pt-tracker --no-default-features --features server --example tracker_load -- --npm tests/js/tracker.mjs {{ if aquatic == "" { "" } else { "--aquatic " + aquatic } }} --rounds {{rounds}}
