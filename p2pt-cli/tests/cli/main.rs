//! The real program: what it prints, how it ends, and pipes that talk to each other.

mod commands;
mod demo;
mod pipe;
mod program;
