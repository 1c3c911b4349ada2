//! The real program: what it prints, how it ends, and pipes that talk to each other.

mod bench;
mod commands;
mod demo;
#[cfg(unix)]
mod dying;
mod in_charge;
mod logs;
mod pipe;
#[cfg(target_os = "linux")]
mod ports;
mod program;
