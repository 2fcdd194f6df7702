//! Public verification of signatures and signature shares, for the kernel and for offline verifiers. Pure.
