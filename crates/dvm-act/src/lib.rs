//! Typed acts: parse, digest, display text. Pure and small, because the kernel uses it.
