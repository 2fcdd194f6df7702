//! dkls23-core at one end: one wire, one product.

use super::honest::multiplies_both_ways;
use super::*;
use crate::dkls23::vole_core::CoreVole;

#[test]
fn ours_multiplies_with_dkls23_core_as_receiver_and_as_sender() {
    multiplies_both_ways::<OwnVole, CoreVole>(12);
}

#[test]
fn dkls23_core_refuses_what_was_changed_in_our_messages_and_ours_what_was_in_its_own() {
    let Ends { a: ours, b: core } = set_up::<OwnVole, CoreVole>(13);
    let (input, change) = (input(1), |at: usize| move |message: &mut Vec<u8>| message[at] ^= 1);
    // The nonce; u's first column; the last t.
    for at in [0, 32, RECEIVE_BYTES - 1] {
        let from_us = run::<OwnVole, CoreVole>((&ours, &core), &input, change(at), |_| ());
        assert_eq!(from_us, Outcome::SenderRefused(VoleFault::Cheated), "byte {at}");
        let to_us = run::<CoreVole, OwnVole>((&core, &ours), &input, change(at), |_| ());
        assert_eq!(to_us, Outcome::SenderRefused(VoleFault::Cheated), "byte {at}");
    }
    // The last byte of a τ, of the salt, of the check and of its u.
    for at in [31, SEND_BYTES - 161, SEND_BYTES - 129, SEND_BYTES - 97] {
        let from_us = run::<CoreVole, OwnVole>((&core, &ours), &input, |_| (), change(at));
        assert_eq!(from_us, Outcome::ReceiverRefused(VoleFault::Cheated), "byte {at}");
        let to_us = run::<OwnVole, CoreVole>((&ours, &core), &input, |_| (), change(at));
        assert_eq!(to_us, Outcome::ReceiverRefused(VoleFault::Cheated), "byte {at}");
    }
}
