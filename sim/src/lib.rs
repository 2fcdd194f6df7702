//! A seeded simulator of whole clusters: real engines, kernels, vaults and interpreters in one
//! process, under a simulated network, disk and clock, with people who ask and checkers who judge.
//!
//! Source: the design's "How it is tested".
//!
//! Always true: a seed decides everything. Virtual time, the order of events, every fault, every
//! lie, and all randomness of kernels, engines and people come from it; the same seed gives the
//! same hash over all events. Exceptions: none is known. Ed25519 signs without randomness, and FROST,
//! HPKE and the vault's sealing take the random source that the kernel was given. What is not
//! covered by the hash: the bytes of SQLite's files, and wall time, which nothing here reads.
//!
//! Not here: processes, sockets, the daemon's threads, the journal's SQLite file (its tables take
//! groups whole or not at all, as a transaction does).

pub mod campaign;
mod cast;
mod cheat;
pub mod coverage;
mod dice;
mod disk;
mod error;
mod faults;
mod host;
mod hostile;
pub mod judge;
mod liar;
mod limit;
pub mod matrix;
mod network;
mod people;
pub mod plan;
mod prepare;
mod seed;
mod story;
mod watch;
mod world;

pub use cast::{NODES, Variant};
pub use disk::Tear;
pub use error::SimError;
pub use seed::{Outcome, Stage};
pub use world::{Halt, World};
