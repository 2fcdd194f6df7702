//! Benchmarks: a real cluster of the shipped binaries on this machine, measured through its API.
//!
//! Always true: nothing is simulated or switched off; figures are printed and never judged, for a
//! time depends on the machine and the disk below it.
//!
//! Not here: pass or fail. The targets are in the documentation.

pub mod client;
pub mod cluster;
pub mod figures;
pub mod keys;
pub mod load;
pub mod machine;

/// Whatever goes wrong ends the benchmark with its text.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
