//! Typed acts: parse, digest, display text. Pure and small, because the kernel uses it.
//!
//! Source: the design's "Typed acts". An act is parsed, never trusted: the bytes to be signed and
//! the text that people approve come from one parse.
//!
//! Always true:
//! - a [`ParsedAct`] exists only if the act is well formed, its content is the one it names, and
//!   the intent's display hash is the hash of the text derived from both;
//! - the same act and content give the same text on every machine.
//!
//! Not here: whether the act is allowed (policy, floors), and whether its key exists.

mod display;
pub mod evm;
mod form;
mod time;

pub use display::{Display, PREVIEW_BYTES_MAX, Shown, display, path_of, path_text};
pub use form::{ActError, EXPIRES_MS_MAX, ParsedAct, THRESHOLD_MIN, check_form, parse};
pub use time::rfc3339;
