//! Named bounds, each with its reason. Checked before decoding or allocating.

/// Nesting of any artifact: the deepest of ours (a log entry in a kernel call) needs 12.
pub const DEPTH_MAX: usize = 24;
/// Items (scalars, strings, list and map entries) in one artifact: a 16-node keygen frame has ~3,000.
pub const ITEMS_MAX: usize = 200_000;
/// Bytes of one artifact that is not a message's content.
pub const ARTIFACT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a message to be signed. Ed25519 reads it twice, so the kernel holds it whole.
pub const CONTENT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one kernel call, peer message or reply: a content, its intent and 16 approvals.
pub const CALL_BYTES_MAX: usize = 6 << 20;
/// Signers of one key: plans, views and frames stay small enough to read.
pub const PARTIES_MAX: usize = 16;
/// Presignatures of one batch: a batch of all fits the bounds of scores, plans and evidence.
pub const PRESIGN_COUNT_MAX: u16 = 32;
/// Components of a BIP-32 path: every scheme in use has five.
pub const PATH_LEN_MAX: usize = 10;
/// Cluster members, witnesses included.
pub const MEMBERS_MAX: usize = 32;
/// Characters of an id (node, key, person, tenant, idempotency key).
pub const ID_CHARS_MAX: usize = 64;
/// Approvals that can ride on one intent.
pub const APPROVALS_MAX: usize = 32;
/// How far two kernels' clocks may be apart before one refuses to open with the other.
pub const CLOCK_SKEW_MS_MAX: u64 = 30_000;
/// How long an offered opening stays good before anyone else may propose.
pub const OPEN_TTL_MS: u64 = 2_000;
/// A held result expires after this long and is destroyed, with a receipt.
pub const HELD_TTL_MS: u64 = 7 * 24 * 3_600_000;
