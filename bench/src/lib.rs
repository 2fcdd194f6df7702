//! Benchmarks: the interpreter, the microcode and the kernel by themselves, and a real cluster of the
//! shipped binaries on this machine, measured through its API.
//!
//! Always true: nothing is simulated or switched off; figures are printed and never judged by, for a
//! time depends on the machine and the disk below it.
//!
//! Not here: pass or fail. What was tried, and what it gave, is in `docs/benchmarks.md`.

pub mod client;
pub mod cluster;
pub mod dkls;
pub mod figures;
pub mod generate;
pub mod kernel;
pub mod keys;
pub mod load;
pub mod machine;
pub mod microcode;
pub mod path;
pub mod table;
pub mod timing;
pub mod trace;
pub mod vm;
pub mod wal;

/// Whatever goes wrong ends the benchmark with its text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What may go wrong.
pub type Outcome<T> = Result<T, Failure>;
