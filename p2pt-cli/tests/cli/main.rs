//! The real program: what it prints, how it ends, and pipes that talk to each other.

mod bench;
#[cfg(target_os = "linux")]
mod chat_screen;
#[cfg(target_os = "linux")]
mod chat_typing;
mod commands;
mod demo;
mod doctor;
mod keys;
mod logs;
mod pipe;
mod pipe_confirm;
mod pipe_control;
mod pipe_session;
mod pipe_swarms;
#[cfg(target_os = "linux")]
mod ports;
#[cfg(unix)]
mod process_death;
mod program;
#[cfg(target_os = "linux")]
mod progress;
mod rooms;
#[cfg(target_os = "linux")]
mod shell;
mod tracker;
mod trust;
mod web;
