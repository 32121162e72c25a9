//! What every service of Skein needs to be operated: configuration from file, environment and flags
//! ([`config`]), logs ([`telemetry`]) and the id that joins those of one request ([`trace`]), metrics
//! and health ([`observe`], [`health`], [`process`]), an orderly end ([`lifecycle`]), the file that
//! says it is ready ([`ready`]), the room on a disk ([`disk`]), and a bound on what one network may connect
//! ([`doorkeeper`]).
//!
//! This crate refuses to know any role.

pub mod clock;
pub mod config;
pub mod disk;
pub mod doorkeeper;
mod environment;
pub mod health;
pub mod lifecycle;
pub mod observe;
pub mod process;
pub mod ready;
pub mod secret;
pub mod telemetry;
pub mod trace;
