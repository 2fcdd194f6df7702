//! The shared words: ids, CIDs, the canonical codec, intents, frames, kernel calls, receipts, reason codes, limits.
