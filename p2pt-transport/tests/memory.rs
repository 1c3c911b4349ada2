//! The memory network: what it does, what its faults do, and that it keeps order whatever happens.
#![cfg(feature = "memory")]

mod memory {
    mod basics;
    mod common;
    mod faults;
    mod properties;
}
