//! Our rounds of FROST beside the library's functions, called directly: what the wrapping costs.
//!
//! Both do one signer's or one party's work, state decoded, randomness from the same generator. What
//! goes over a wire is encoded and decoded on both sides, because without that nobody signs. A signer
//! here must also know R before its share exists, for the result's public name; the library computes R
//! inside and does not tell it. So the peer of the aim is the library's functions with R computed
//! beside them, and the library's functions alone are a reference. On top, ours names culprits, keeps
//! secrets in wiping types and accepts one encoding only; the DKG also commits by hash before it opens,
//! and checks each proof of knowledge when it arrives, a level before the library does so again.

use std::collections::BTreeMap;

use dvm_microcode::{Ed25519, KeyShare, SchnorrSuite, Secp256k1Tr, sign};
use frost_core::keys::{KeyPackage, PublicKeyPackage, dkg as frost_dkg};
use frost_core::{Identifier, SigningPackage, round1, round2};
use rand_core::OsRng;

use crate::Outcome;
use crate::generate::{self, confirmed, finished, told};
use crate::table::{Against, Row};
use crate::timing::{Effort, in_turns, median};

const SECTION: &str = "microcode";
const RATIO_MAX: f64 = 1.15;
const MESSAGE: &[u8] = b"a message of the size of a transaction's digest";
const THRESHOLD: u16 = 2;
const SIZE: u16 = 3;

type Commitments = BTreeMap<String, Vec<u8>>;

/// Measures.
///
/// # Errors
/// A round that failed.
pub fn rows(effort: Effort) -> Outcome<Vec<Row>> {
    let mut rows = suite::<Ed25519>(effort)?;
    rows.extend(suite::<Secp256k1Tr>(effort)?);
    Ok(rows)
}

fn suite<C: SchnorrSuite>(effort: Effort) -> Outcome<Vec<Row>> {
    let name = C::SUITE.name();
    let peer = |what: &str, parts: f64, (ours, theirs): (f64, f64)| {
        let figure = theirs / parts * 1e6;
        let against = Against::Peer { who: "frost", figure, ratio_max: RATIO_MAX };
        Row::new(SECTION, format!("{name}: {what}"), (ours / parts * 1e6, "us"), against)
    };
    let alone = |what: &str, seconds: f64, against: Against| {
        Row::new(SECTION, format!("{name}: {what}"), (seconds * 1e6, "us"), against)
    };
    let keys = generate::keys::<C>((THRESHOLD, SIZE))?;
    let direct = direct_keys::<C>()?;
    sign_ours(&keys)?;
    sign_direct(&direct, true)?;
    let with_r = in_turns(effort, || sign_ours(&keys), || sign_direct(&direct, true));
    let library = in_turns(effort, || sign_ours(&keys), || sign_direct(&direct, false));
    let reference = Against::Reference { who: "frost, R untold", figure: library.1 / 2.0 * 1e6 };
    let aggregate = aggregated(effort, &keys, &direct)?;
    let terms = (THRESHOLD, SIZE);
    let generated = in_turns(effort, || finished::<C>(terms), direct_keys::<C>);
    let probed = median(
        effort,
        || finished::<C>(terms),
        |made| made.and_then(|made| confirmed(made, THRESHOLD)),
    );
    let sealed = keys.first().ok_or("no keys")?.seal_bytes().map_err(told)?;
    let decoded = median(effort, || (), |()| sealed.expose(|b| KeyShare::<C>::unseal(b).is_ok()));
    let parties = f64::from(SIZE);
    Ok(vec![
        peer("sign, one signer of 2", 2.0, with_r),
        alone("the same", library.0 / 2.0, reference),
        peer("bind, aggregate, verify, 2 of 3", 1.0, aggregate),
        peer("DKG to a finished share, one of 3", parties, generated),
        alone("agreement and probe after it, one of 3", probed / parties, Against::Nothing),
        alone("a key share decoded from the vault", decoded, Against::Nothing),
    ])
}

// ---- ours --------------------------------------------------------------------------------------

fn signers<C: SchnorrSuite>(keys: &[KeyShare<C>]) -> &[KeyShare<C>] {
    keys.get(..usize::from(THRESHOLD)).unwrap_or(keys)
}

/// Both rounds at both signers.
fn sign_ours<C: SchnorrSuite>(
    keys: &[KeyShare<C>],
) -> Outcome<(Commitments, dvm_microcode::SecretMessages)> {
    let (mut nonces, mut commitments) = (Vec::new(), Commitments::new());
    for key in signers(keys) {
        let (own, bytes) = sign::nonce_commit(key, &mut OsRng).map_err(told)?;
        nonces.push(own);
        commitments.insert(key.node().to_owned(), bytes);
    }
    let mut shares = BTreeMap::new();
    for (key, own) in signers(keys).iter().zip(nonces) {
        let binding = sign::bind(key.group(), &commitments, MESSAGE).map_err(told)?;
        let share = sign::partial_sig(key, own, &binding).map_err(told)?;
        shares.insert(key.node().to_owned(), share);
    }
    Ok((commitments, shares))
}

// ---- the library, called directly --------------------------------------------------------------

struct Direct<C: SchnorrSuite> {
    packages: Vec<KeyPackage<C>>,
    public: PublicKeyPackage<C>,
}

/// The three parts of the library's key generation at every party, its packages over a wire.
fn direct_keys<C: SchnorrSuite>() -> Outcome<Direct<C>> {
    let (mut secrets, mut sent) = (Vec::new(), BTreeMap::<Identifier<C>, Vec<u8>>::new());
    for index in 1..=SIZE {
        let me = Identifier::<C>::try_from(index).map_err(told)?;
        let (secret, package) =
            frost_dkg::part1::<C, _>(me, SIZE, THRESHOLD, OsRng).map_err(told)?;
        sent.insert(me, package.serialize().map_err(told)?);
        secrets.push((me, secret));
    }
    let (mut seconds, mut boxes) = (Vec::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
    for (me, secret) in secrets {
        let mut received = BTreeMap::new();
        for (from, bytes) in sent.iter().filter(|(from, _)| **from != me) {
            received.insert(*from, frost_dkg::round1::Package::deserialize(bytes).map_err(told)?);
        }
        let (secret, shares) = frost_dkg::part2(secret, &received).map_err(told)?;
        for (to, share) in shares {
            boxes.entry(to).or_default().insert(me, share.serialize().map_err(told)?);
        }
        seconds.push((me, secret, received));
    }
    let (mut packages, mut public) = (Vec::new(), None);
    for (me, secret, received) in seconds {
        let mut shares = BTreeMap::new();
        for (from, bytes) in boxes.remove(&me).unwrap_or_default() {
            shares.insert(from, frost_dkg::round2::Package::deserialize(&bytes).map_err(told)?);
        }
        let (package, group) = frost_dkg::part3(&secret, &received, &shares).map_err(told)?;
        packages.push(package);
        public = Some(group);
    }
    Ok(Direct { packages, public: public.ok_or("no parties")? })
}

type DirectShares<C> = BTreeMap<Identifier<C>, Vec<u8>>;

/// R, as the library computes it inside.
fn r_of<C: SchnorrSuite>(signing: &SigningPackage<C>, public: &PublicKeyPackage<C>) -> Outcome<()> {
    let none = BTreeMap::new();
    let (signing, _, public) = C::pre_aggregate(signing, &none, public).map_err(told)?;
    let key = public.verifying_key();
    let factors = frost_core::compute_binding_factor_list(&signing, key, &[]).map_err(told)?;
    let signing = C::pre_commitment_aggregate(&signing, &factors).map_err(told)?;
    let r = frost_core::compute_group_commitment(&signing, &factors).map_err(told)?;
    std::hint::black_box(r.to_element());
    Ok(())
}

/// Both rounds at both signers, commitments and shares over a wire; with R, if it is to be told.
fn sign_direct<C: SchnorrSuite>(
    direct: &Direct<C>,
    tell_r: bool,
) -> Outcome<(SigningPackage<C>, DirectShares<C>)> {
    let (mut nonces, mut sent) = (Vec::new(), BTreeMap::new());
    for package in direct.packages.iter().take(usize::from(THRESHOLD)) {
        let (own, commitments) = round1::commit(package.signing_share(), &mut OsRng);
        nonces.push((package, own));
        sent.insert(*package.identifier(), commitments.serialize().map_err(told)?);
    }
    let (mut last, mut shares) = (None, BTreeMap::new());
    for (package, own) in nonces {
        let mut received = BTreeMap::new();
        for (from, bytes) in &sent {
            let commitments = round1::SigningCommitments::<C>::deserialize(bytes).map_err(told)?;
            received.insert(*from, commitments);
        }
        let signing = SigningPackage::new(received, MESSAGE);
        if tell_r {
            r_of(&signing, &direct.public)?;
        }
        let share = round2::sign(&signing, &own, package).map_err(told)?;
        shares.insert(*package.identifier(), share.serialize());
        last = Some(signing);
    }
    Ok((last.ok_or("no signers")?, shares))
}

/// Adding up and checking, from bytes: R and what follows from the commitments, the signature from the
/// shares, verified by the library and once more by itself.
fn aggregated<C: SchnorrSuite>(
    effort: Effort,
    keys: &[KeyShare<C>],
    direct: &Direct<C>,
) -> Outcome<(f64, f64)> {
    let (commitments, shares) = sign_ours(keys)?;
    let group = keys.first().ok_or("no keys")?.group();
    let ours = || -> Outcome<()> {
        let binding = sign::bind(group, &commitments, MESSAGE).map_err(told)?;
        sign::aggregate(&binding, &shares).map_err(told)?;
        Ok(())
    };
    let (signing, sent) = sign_direct(direct, false)?;
    let mut encoded = BTreeMap::new();
    for (from, commitments) in signing.signing_commitments() {
        encoded.insert(*from, commitments.serialize().map_err(told)?);
    }
    let theirs = || -> Outcome<()> {
        let (mut received, mut decoded) = (BTreeMap::new(), BTreeMap::new());
        for (from, bytes) in &encoded {
            let commitments = round1::SigningCommitments::<C>::deserialize(bytes).map_err(told)?;
            received.insert(*from, commitments);
        }
        for (from, bytes) in &sent {
            decoded.insert(*from, round2::SignatureShare::deserialize(bytes).map_err(told)?);
        }
        let signing = SigningPackage::new(received, MESSAGE);
        r_of(&signing, &direct.public)?;
        let signature = frost_core::aggregate(&signing, &decoded, &direct.public).map_err(told)?;
        direct.public.verifying_key().verify(MESSAGE, &signature).map_err(told)?;
        Ok(())
    };
    ours()?;
    theirs()?;
    Ok(in_turns(effort, ours, theirs))
}
