//! The shared words of DVM-MPC.
//!
//! Every artifact that crosses a process or a machine is defined here, once, with its canonical
//! bytes: ids and links, the codec, intents, admissions, opens, run headers, frames, kernel calls,
//! receipts, traces, sightings, governance data and reason codes. Source: the design's artifact pipeline.
//!
//! Always true:
//! - no type here carries a secret; a secret has no public name outside the kernel;
//! - `decode(encode(x)) == x`, and bytes that are not the canonical encoding are refused;
//! - every list and byte string has a bound that is checked before it is allocated.
//!
//! Not here: judgement. Whether something is allowed is decided by the crates above.

pub mod admission;
pub mod authority;
pub mod bytes;
pub mod call;
pub mod codec;
pub mod digest;
pub mod frame;
pub mod governance;
pub mod ids;
pub mod intent;
pub mod limits;
pub mod link;
pub mod merkle;
pub mod reason;
pub mod receipt;
pub mod run;
pub mod sighting;
pub mod sign;
pub mod trace;

pub use bytes::{Address20, B32, Bytes};
pub use codec::{Artifact, CodecError};
pub use ids::{KeyId, NodeId, PersonId, Tenant};
pub use link::{Block, Link};
pub use reason::ReasonCode;
pub use sign::{PublicKey, Signed, Signer};
