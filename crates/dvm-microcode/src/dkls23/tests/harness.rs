//! Whole runs of the rounds, all signers in one place, with a hook on every message.

use std::collections::BTreeMap;

use dkls23_core::utilities::hashes::tagged_hash_as_scalar;
use dkls23_core::utilities::oracle_tags::TAG_MUL_GADGET;
use dvm_blame::bip32::{Derived, derive};
use dvm_blame::ecdsa::SignatureTerms;
use dvm_blame::layout::Writer;
use k256::Scalar;
use k256::elliptic_curve::{Field, PrimeField};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use crate::dkls23::commit::Committed;
use crate::dkls23::own::OwnVole;
use crate::dkls23::pair::PairOf;
use crate::dkls23::terms::{Pairs, Terms};
use crate::dkls23::vole::{BASE_OTS, EXTENDED_OTS, Vole};
use crate::dkls23::vole_core::{CoreVole, DOMAIN as CORE_DOMAIN};
use crate::dkls23::{Checked, affine, check, commit, multiply};
use crate::testing::{generate, name, rng};
use crate::{EcdsaShare, Fault, Roster, Secp256k1, Secret, SecretMessages};

/// Runs a generic test body once per OLE.
macro_rules! for_every_vole {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn own() {
                super::$name::<crate::dkls23::own::OwnVole>();
            }
            #[test]
            fn core() {
                super::$name::<crate::dkls23::vole_core::CoreVole>();
            }
        }
    )*};
}
pub(super) use for_every_vole;

/// What the base OTs of one direction, and its gadget's nonce, would have given. Dealt, because a set-up costs as much
/// as some hundred signatures; `set_up` runs the real one.
pub(super) struct Direction {
    session: [u8; 32],
    nonce: Scalar,
    /// Both seeds of each, which the OLE's receiver has.
    seeds: Vec<[[u8; 32]; 2]>,
    /// Which of them the OLE's sender has.
    choices: Vec<bool>,
}

impl Direction {
    fn new(rng: &mut ChaCha20Rng) -> Self {
        let mut bytes = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let seeds = (0..BASE_OTS).map(|_| [bytes(), bytes()]).collect();
        let choices = (0..BASE_OTS).map(|_| bytes()[0] & 1 == 1).collect();
        Self { session: bytes(), nonce: Scalar::random(rng), seeds, choices }
    }

    fn of_each(&self, which: usize) -> Vec<[u8; 32]> {
        self.seeds.iter().map(|pair| pair[which]).collect()
    }

    fn chosen(&self) -> Vec<[u8; 32]> {
        let pairs = self.seeds.iter().zip(&self.choices);
        pairs.map(|(pair, choice)| pair[usize::from(*choice)]).collect()
    }

    /// DKLs19's public vector, as dkls23-core computes it.
    fn gadget(&self) -> Vec<k256_14::Scalar> {
        let scalar = |index: usize| {
            let counter = self.nonce + Scalar::from(u64::try_from(index).unwrap());
            let parts: [&[u8]; 2] = [&self.session, &counter.to_repr()];
            tagged_hash_as_scalar::<k256_14::Secp256k1>(TAG_MUL_GADGET, &parts)
        };
        (1..=EXTENDED_OTS).map(scalar).collect()
    }
}

/// An OLE whose set-up a test may deal.
pub(super) trait Dealt: Vole + 'static {
    fn deal(receives: &Direction, sends: &Direction) -> Secret<Self::Pair>;

    /// Both ends of one pair.
    fn ends(rng: &mut ChaCha20Rng) -> (Secret<Self::Pair>, Secret<Self::Pair>) {
        let (there, back) = (Direction::new(rng), Direction::new(rng));
        (Self::deal(&there, &back), Self::deal(&back, &there))
    }
}

impl Dealt for OwnVole {
    fn deal(receives: &Direction, sends: &Direction) -> Secret<Self::Pair> {
        let mut correlation = [0u8; BASE_OTS / 8];
        for (place, choice) in sends.choices.iter().enumerate() {
            correlation[place / 8] |= u8::from(*choice) << (place % 8);
        }
        let encoded = [
            receives.session.to_vec(),
            receives.nonce.to_repr().to_vec(),
            receives.of_each(0).concat(),
            receives.of_each(1).concat(),
            sends.session.to_vec(),
            sends.nonce.to_repr().to_vec(),
            correlation.to_vec(),
            sends.chosen().concat(),
        ];
        Self::unseal(&encoded.concat()).ok().unwrap()
    }
}

impl Dealt for CoreVole {
    fn deal(receives: &Direction, sends: &Direction) -> Secret<Self::Pair> {
        let sender = (sends.gadget(), (&sends.choices, sends.chosen()));
        let receiver = (receives.gadget(), (receives.of_each(0), receives.of_each(1)));
        let encoded = Writer::new(CORE_DOMAIN)
            .field(&postcard::to_allocvec(&sender).unwrap())
            .field(&postcard::to_allocvec(&receiver).unwrap());
        Self::unseal(&encoded.finish()).ok().unwrap()
    }
}

/// Keys and pairs.
pub(super) struct Cluster<V: Vole> {
    pub(super) keys: Vec<EcdsaShare>,
    pub(super) pairs: BTreeMap<String, BTreeMap<String, PairOf<V>>>,
}

impl<V: Dealt> Cluster<V> {
    pub(super) fn new(t: u16, n: u16) -> Self {
        let keys = generate::<Secp256k1>(t, n, 1);
        let mut rng = rng(77);
        let mut pairs: BTreeMap<String, BTreeMap<String, PairOf<V>>> = BTreeMap::new();
        for one in 1..=n {
            for other in one + 1..=n {
                let (left, right) = V::ends(&mut rng);
                let (mut seed, mut setup_digest) = ([0; 32], [0; 32]);
                rng.fill_bytes(&mut seed);
                rng.fill_bytes(&mut setup_digest);
                for (me, peer, vole) in [(one, other, left), (other, one, right)] {
                    let zero_seed = Secret::new(seed);
                    let pair = PairOf { vole, zero_seed, setup_digest };
                    pairs.entry(name(me)).or_default().insert(name(peer), pair);
                }
            }
        }
        Self { keys, pairs }
    }
}

/// What a message is, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hop {
    Commitment,
    CommitMessage,
    Opening,
    MultiplyMessage,
    Share,
}

/// Changes a message on its way: what, from, to, bytes.
pub(super) type Tamper<'a> = &'a dyn Fn(Hop, &str, &str, &mut Vec<u8>);

/// What happens to messages and to a signer's own state.
pub(super) struct Hooks<'a, V: Vole> {
    pub(super) tamper: Tamper<'a>,
    /// A signer that lies has another state between the levels.
    pub(super) lie: &'a dyn Fn(&mut Committed<V>, &str),
}

/// How a run ended at one signer.
pub(super) type Ends<T> = BTreeMap<String, Result<T, Fault>>;

pub(super) struct Signed {
    pub(super) signature: [u8; 65],
    pub(super) public_key: [u8; 33],
}

/// One run's terms, before they are anybody's.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) run_sid: [u8; 32],
    pub(super) signers: Vec<u16>,
    pub(super) path: Vec<u32>,
    pub(super) item: u16,
}

impl Plan {
    pub(super) fn of(signers: &[u16]) -> Self {
        Self { run_sid: [9; 32], signers: signers.to_vec(), path: Vec::new(), item: 0 }
    }

    pub(super) fn roster(&self) -> Roster {
        Roster::new(self.signers.iter().map(|index| name(*index))).unwrap()
    }
}

impl<V: Dealt> Cluster<V> {
    pub(super) fn derived(&self, path: &[u32]) -> Derived {
        derive(self.keys[0].group().public_key(), &[5; 32], path).unwrap()
    }

    pub(super) fn terms(&self, plan: &Plan, index: u16) -> Terms {
        let key = &self.keys[usize::from(index) - 1];
        Terms::new(plan.run_sid, key, plan.roster(), &self.derived(&plan.path)).unwrap()
    }

    pub(super) fn pairs_of(&self, node: &str) -> Pairs<'_, V> {
        self.pairs[node].iter().map(|(peer, pair)| (peer.clone(), pair)).collect()
    }

    /// Everything up to the checks; who fails ends the run for all.
    pub(super) fn checked(
        &self,
        plan: &Plan,
        hooks: &Hooks<'_, V>,
        seed: u64,
    ) -> Result<BTreeMap<String, Checked>, Ends<()>> {
        let mut rng = rng(seed);
        let (mut states, mut broadcast, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        let mut ends = Ends::new();
        for index in &plan.signers {
            let (me, terms) = (name(*index), self.terms(plan, *index));
            let made = commit::<V>(&terms, plan.item, &self.pairs_of(&me), &mut rng);
            let (mut state, com, messages) = made.ok().unwrap();
            (hooks.lie)(&mut state, &me);
            states.push((me.clone(), terms, state));
            broadcast.push((me.clone(), com.to_vec()));
            sealed.push((me, messages));
        }
        let (coms, inboxes) = deliver(hooks, Hop::Commitment, &broadcast, &sealed);
        let (mut next, mut broadcast, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for (me, terms, state) in states {
            let heard = coms[&me].iter();
            let heard = heard.map(|(from, com)| (from.clone(), com[..].try_into().unwrap()));
            let heard = (heard.collect(), &inboxes[&me]);
            let done = multiply(&terms, state, &self.pairs_of(&me), heard, &mut rng);
            ends.insert(me.clone(), done.as_ref().map(|_| ()).map_err(Clone::clone));
            let Ok((state, opening, messages)) = done else { continue };
            next.push((me.clone(), terms, state));
            broadcast.push((me.clone(), opening));
            sealed.push((me, messages));
        }
        if ends.values().any(Result::is_err) {
            return Err(ends);
        }
        let (openings, inboxes) = deliver(hooks, Hop::Opening, &broadcast, &sealed);
        let mut all = BTreeMap::new();
        for (me, terms, state) in next {
            let heard = (&openings[&me], &inboxes[&me]);
            let done = check(&terms, state, &self.pairs_of(&me), heard);
            ends.insert(me.clone(), done.as_ref().map(|_| ()).map_err(Clone::clone));
            done.into_iter().for_each(|checked| drop(all.insert(me.clone(), checked)));
        }
        if ends.values().any(Result::is_err) { Err(ends) } else { Ok(all) }
    }

    /// A whole signature, as every signer ends up with it.
    pub(super) fn sign(
        &self,
        plan: &Plan,
        digest: &[u8; 32],
        hooks: &Hooks<'_, V>,
        seed: u64,
    ) -> Result<Signed, Ends<()>> {
        let checked = self.checked(plan, hooks, seed)?;
        let parts = checked.into_iter().map(|(me, checked)| (me, affine(checked, digest)));
        self.combined(plan, digest, parts.collect(), hooks)
    }

    pub(super) fn combined(
        &self,
        plan: &Plan,
        digest: &[u8; 32],
        parts: BTreeMap<String, (Secret<[u8; 64]>, dvm_blame::ecdsa::NoncePoint)>,
        hooks: &Hooks<'_, V>,
    ) -> Result<Signed, Ends<()>> {
        let public_key = *self.derived(&plan.path).public_key();
        let (mut ends, mut signature) = (Ends::new(), None);
        for (me, (_, nonce)) in &parts {
            let mut shares = BTreeMap::new();
            for (from, (share, _)) in &parts {
                let mut bytes = share.expose(|share| share.to_vec());
                if from != me {
                    (hooks.tamper)(Hop::Share, from, me, &mut bytes);
                }
                shares.insert(from.clone(), bytes);
            }
            let signers = &plan.roster();
            let terms = SignatureTerms { signers, public_key: &public_key, nonce, digest };
            let combined = terms.combine(&shares);
            ends.insert(me.clone(), combined.as_ref().map(|_| ()).map_err(Clone::clone));
            signature = combined.ok().or(signature);
        }
        match signature {
            Some(signature) if ends.values().all(Result::is_ok) => {
                Ok(Signed { signature, public_key })
            }
            _ => Err(ends),
        }
    }

    /// With nothing in the way.
    pub(super) fn sign_honestly(&self, plan: &Plan, digest: &[u8; 32], seed: u64) -> Signed {
        match self.sign(plan, digest, &honest(), seed) {
            Ok(signed) => signed,
            Err(ends) => panic!("{ends:?}"),
        }
    }
}

pub(super) fn honest<V: Dealt>() -> Hooks<'static, V> {
    Hooks { tamper: &|_, _, _, _| (), lie: &|_, _| () }
}

type Broadcasts = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Everybody's messages of a level to everybody, through the hook; a signer hears itself unchanged.
fn deliver<V: Vole>(
    hooks: &Hooks<'_, V>,
    hop: Hop,
    broadcast: &[(String, Vec<u8>)],
    sealed: &[(String, SecretMessages)],
) -> (Broadcasts, BTreeMap<String, SecretMessages>) {
    let private = match hop {
        Hop::Commitment => Hop::CommitMessage,
        _ => Hop::MultiplyMessage,
    };
    let (mut heard, mut inboxes) = (Broadcasts::new(), BTreeMap::new());
    for (from, bytes) in broadcast {
        for (to, _) in broadcast {
            let mut bytes = bytes.clone();
            if to != from {
                (hooks.tamper)(hop, from, to, &mut bytes);
            }
            heard.entry(to.clone()).or_default().insert(from.clone(), bytes);
        }
    }
    for (from, messages) in sealed {
        for (to, message) in messages {
            let mut bytes = message.expose(Vec::clone);
            (hooks.tamper)(private, from, to, &mut bytes);
            let inbox: &mut SecretMessages = inboxes.entry(to.clone()).or_default();
            inbox.insert(from.clone(), Secret::new(bytes));
        }
    }
    (heard, inboxes)
}
