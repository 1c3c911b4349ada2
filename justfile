# The same as CI.
ci:
    .ci/run

# The quick checks before a commit.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo test --workspace

# The suites against the JavaScript p2pt; needs npm and chromium.
interop:
    tests/js/setup.sh
    cargo test -p p2pt-tests --test interop_js --test interop_library --test interop_node --test interop_chromium -- --ignored --test-threads=1

# Real WebRTC under kills, freezes, cut links and lost trackers; needs root or user namespaces, and iproute2.
soak seconds="600" rounds="9" processes="26":
    P2PT_SOAK_SECONDS={{seconds}} P2PT_SOAK_ROUNDS={{rounds}} P2PT_SOAK_PROCESSES={{processes}} cargo test -p p2pt-tests --test soak -- --ignored --nocapture

# What an idle node costs, beside the JavaScript p2pt; needs npm and what the soak needs, and takes 13 minutes.
idle-cost:
    tests/js/setup.sh
    cargo run --release -p p2pt-tests --example idle_cost
