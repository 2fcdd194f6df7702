use dvm_microcode::Ed25519;
use dvm_microcode::dkg::{Opened, VerifiedOpening, share};

fn forge(state: Opened<Ed25519>) {
    let unchecked: Vec<u8> = vec![0; 64];
    let _shares = share(state, vec![VerifiedOpening::from(unchecked)]);
}

fn main() {}
