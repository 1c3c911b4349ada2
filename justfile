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
