//! The secret kernel: the one process that holds shares, nonces, permits and the gate.
