//! Evidence bundles: writing them, and verifying and replaying them offline.

pub mod peer;
