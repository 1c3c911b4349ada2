//! The `p2pt` program.
fn main() {}
