//! The memory network: what it does, and what its faults do.
#![cfg(feature = "memory")]

mod memory {
    mod basics;
}
