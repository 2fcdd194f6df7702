//! Fuzz targets: every decoder of the workspace, and the evidence verifier, under arbitrary bytes.
//!
//! A target takes bytes and asserts properties; a panic is its finding. It says how far the input came
//! ([`Seen`]), so that the runner for stable Rust ([`run`]) can keep inputs that came further, as a
//! coverage-guided fuzzer does. The same table serves libFuzzer (`fuzz/libfuzzer`).
//!
//! Always true of a decoder under its target: what it accepts encodes to the same bytes again; what it
//! refuses is refused with a typed reason; it takes memory in proportion to the input, not to numbers in
//! it. Of the verifier: whatever a stranger or a lying exporter makes of a genuine bundle, an accepted
//! one states nothing that the genuine ones do not.
//!
//! Not here: calls to a kernel in sequence (the kernel's own tests), messages to an engine (`dvm-sim`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports"
)]

pub mod corpus;
pub mod memory;
pub mod mutate;
pub mod run;
mod targets;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use targets::{TARGETS, genuine};

/// How far an input came, as a number: equal for equal ways through a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen(pub u64);

impl Seen {
    /// From whatever tells ways apart: an error, the shape of a value.
    pub fn of(way: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        way.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// From an error's text without its numbers and quotations, which would make every input look new.
    pub fn refused(error: &dyn std::fmt::Display) -> Self {
        let text: String = error.to_string();
        assert!(!text.is_empty(), "refused without a reason");
        let words = text.chars().take_while(|c| *c != '`').filter(|c| !c.is_ascii_digit());
        let words: String = words.take(96).collect();
        Self::of(("refused", words))
    }

    /// From an accepted value of so many bytes.
    pub fn accepted(bytes: usize) -> Self {
        Self::of(("accepted", bytes / 8))
    }
}

/// One entry of the table.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and its directory in `fuzz/corpus`.
    pub name: &'static str,
    /// Longest input.
    pub bytes_max: usize,
    /// Executions in the short run of the ordinary tests.
    pub short: u64,
    /// What is run.
    pub run: fn(&[u8]) -> Seen,
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
