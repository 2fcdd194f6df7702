//! Finished signatures against Wycheproof and libsecp256k1; the nonces' transcript and the combination of shares,
//! honest and attacked.

mod transcript;
mod verify;
