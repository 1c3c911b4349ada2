//! Workspace tests.

pub mod interop;
pub mod js;
pub mod pipe;
pub mod sim;
