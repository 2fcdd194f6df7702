//! No type that holds a secret can be copied, printed, compared, hashed, serialised or read by accident.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::ops::Deref;

use dvm_microcode::dkg::{Agreed, Committed, Opened, Shared, Unconfirmed, VerifiedOpening};
use dvm_microcode::dkls23::own::OwnVole;
use dvm_microcode::dkls23::{self, Checked, Multiplied, ScaledTriple, Terms, Triple, pair};
use dvm_microcode::sign::Nonces;
use dvm_microcode::{EcdsaShare, Ed25519, KeyShare, OneTime, Secp256k1, Secp256k1Tr, Secret};
use static_assertions::assert_not_impl_any;

macro_rules! assert_secret {
    ($($type:ty),* $(,)?) => {$(
        assert_not_impl_any!($type: Clone, Copy, Debug, Display, PartialEq<$type>, PartialOrd<$type>, Hash, Default);
        assert_not_impl_any!($type: serde::Serialize, serde::de::DeserializeOwned);
        assert_not_impl_any!($type: Deref, AsRef<[u8]>, AsMut<[u8]>, std::borrow::Borrow<[u8]>, Into<Vec<u8>>, IntoIterator);
    )*};
}

assert_secret!(
    Secret<Vec<u8>>,
    Secret<[u8; 32]>,
    OneTime<Vec<u8>>,
    OneTime<[u8; 32]>,
    KeyShare<Ed25519>,
    KeyShare<Secp256k1Tr>,
    EcdsaShare,
    Nonces<Ed25519>,
    Nonces<Secp256k1Tr>,
    Nonces<Secp256k1>,
    Committed<Ed25519>,
    Committed<Secp256k1Tr>,
    Committed<Secp256k1>,
    Opened<Ed25519>,
    Opened<Secp256k1Tr>,
    Opened<Secp256k1>,
    VerifiedOpening<Ed25519>,
    VerifiedOpening<Secp256k1Tr>,
    VerifiedOpening<Secp256k1>,
    Shared<Ed25519>,
    Shared<Secp256k1Tr>,
    Shared<Secp256k1>,
    Unconfirmed<Ed25519>,
    Unconfirmed<Secp256k1Tr>,
    Unconfirmed<Secp256k1>,
    Agreed<Ed25519>,
    Agreed<Secp256k1Tr>,
    Agreed<Secp256k1>,
    Terms,
    dkls23::Committed<OwnVole>,
    Multiplied<OwnVole>,
    Checked,
    Triple,
    ScaledTriple,
    pair::Offered<OwnVole>,
    pair::Opened<OwnVole>,
    pair::Unconfirmed<OwnVole>,
    pair::PairOf<OwnVole>,
);

/// Each file under `tests/compile_fail` is a mistake that must not compile, with the compiler's answer beside it.
#[test]
fn misuse_of_secrets_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
