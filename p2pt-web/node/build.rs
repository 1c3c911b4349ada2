//! Tells the linker what an addon of Node is linked like.

fn main() {
    napi_build::setup();
}
