//! Evidence bundles: writing them, and verifying and replaying them offline.
//!
//! Source: `spec/evidence.md`. A bundle is a CARv1 file with everything that peers signed, received
//! and recorded about one intent, whatever became of it.
//!
//! Always true: a bundle that [`verify()`] accepts hangs together from the trusted cluster to the
//! last byte; each of its blocks is reachable from the root, and there is one byte string for its
//! contents. Pure: no clock, no randomness, no I/O; no input makes it panic or grow without bound.
//!
//! Not here: fetching the parts from peers, and files.

pub mod bundle;
pub mod car;
pub mod manifest;
pub mod peer;
mod read;
pub mod replay;
pub mod verify;

pub use bundle::{BundleInput, BundleRefused, write_bundle};
pub use replay::{Replayed, replay_bundle};
pub use verify::{Refused, Report, RunReport, verify};
