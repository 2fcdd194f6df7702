//! The node: engine and drivers for stores, transport, governance replication, the gate and the
//! HTTP API.
//!
//! Source: the design's control plane. The engine decides and performs nothing; the drivers perform
//! and decide nothing.
//!
//! Always true: nothing here can name a secret type; the kernel is met only through
//! `dvm_core::call`, over a pipe.

pub mod api;
pub mod capture;
pub mod config;
pub mod driver;
pub mod engine;
pub mod journal;
pub mod kernel_link;
pub mod node;
pub mod observe;
pub mod setup;
pub mod tokens;
pub mod transport;
pub mod views;
pub mod wire;
pub mod witness;
