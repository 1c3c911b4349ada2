//! Workspace tests.

pub mod events;
pub mod forger;
pub mod interop;
pub mod js;
pub mod machine;
pub mod page;
pub mod pipe;
pub mod plan;
pub mod program;
pub mod sessions;
pub mod sim;
#[cfg(target_os = "linux")]
pub mod soak;
pub mod tracker_profile;

/// The examples of the README files that no crate tests as its own.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    struct Workspace;

    #[doc = include_str!("../../p2pt/README.md")]
    struct Facade;

    #[doc = include_str!("../../p2pt-tracker/README.md")]
    struct Tracker;

    #[doc = include_str!("../../p2pt-transport/README.md")]
    struct Transport;
}
