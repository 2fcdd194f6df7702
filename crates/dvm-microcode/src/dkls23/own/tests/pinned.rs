//! One set-up and one run under a seeded source, pinned: another byte anywhere is another protocol.

use sha2::{Digest, Sha256};

use super::*;

#[test]
fn a_seeded_set_up_and_run_is_what_it_always_was() {
    let session = crate::testing::sid(30);
    let (at_a, at_b) = places(&session);
    let (own_a, from_a) = OwnVole::offer(&at_a, &mut rng(31)).unwrap();
    let (own_b, from_b) = OwnVole::offer(&at_b, &mut rng(32)).unwrap();
    let a = from_b.expose(|theirs| OwnVole::finish(&at_a, own_a, theirs)).unwrap();
    let b = from_a.expose(|theirs| OwnVole::finish(&at_b, own_b, theirs)).unwrap();
    let received = a.expose(|pair| OwnVole::receive(pair, &SID, &mut rng(33))).unwrap();
    let (chi, kept, message) = received;
    let sent = message.expose(|message| {
        b.expose(|pair| OwnVole::send(pair, &SID, &input(34), message, &mut rng(35)))
    });
    let (c, answer) = sent.unwrap();
    let d = answer.expose(|answer| a.expose(|pair| OwnVole::complete(pair, &SID, kept, answer)));
    let scalars = [chi.expose(|chi| *chi), c.expose(|c| c[0]), d.unwrap().expose(|d| d[1])];
    let digests = [from_a, from_b, message, answer]
        .map(|message| message.expose(|message| hex::encode(Sha256::digest(message))));
    let scalars = scalars.map(|scalar| hex::encode(scalar.to_bytes()));
    assert_eq!(digests.iter().chain(&scalars).map(String::as_str).collect::<Vec<_>>(), EXPECTED);
}

/// SHA-256 of both offers, the receiver's message and the sender's; χ, c_0 and d_1.
const EXPECTED: [&str; 7] = [
    "e92ff5079f0428665ce1ba4ad7e7aecd68d537024866933544fcbaf4046e3d91",
    "c925e9ebd219a60bd09736c09d78b729d41817b338e2b67f42bd4acc4eab53cb",
    "dcb3955563994993830faf5b9b9a316c7837696f993af9de3cbda7b2a70b9bdd",
    "214ebb3a6d45e0689d24c591515be01c13aeac82776067a8d174ccc1e1b56d16",
    "750263ecd2ffadc4969a2fe21163eeb4358d6a9cf3039e0320fa650d85e043ca",
    "e09f5cdfdb2bd0c805009af50b2144695b7827dec45b10f6b69a68dc3c2e56e0",
    "4128a1dc027d0c21824f8b7329cadb07cfd725a8b34792649663dbd2d4dd40b4",
];
