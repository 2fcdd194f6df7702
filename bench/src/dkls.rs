//! Our rounds of DKLs23 beside dkls23-core's, called directly: one signer's work, and its messages.
//!
//! Both sign one digest with exactly t signers, state decoded, messages through their encodings on both sides, and both
//! verify what they made. Ours also commits to ψ, compares set-ups and names all culprits of a round; the library
//! hashes each pair's whole set-up into each message. Keys are not timed: ours come from the key generation and its
//! base OTs, the library's from its dealer.

use std::collections::BTreeMap;

use dkls23_core::protocols::re_key::re_key;
use dkls23_core::protocols::signing::{
    Broadcast3to4, SignData, TransmitPhase1to2, TransmitPhase2to3,
};
use dkls23_core::protocols::{Parameters, Party, PartyIndex};
use dkls23_core::utilities::multiplication::{
    MulDataToKeepReceiver, MulDataToReceiver, MulReceiver, MulSender,
};
use dkls23_core::utilities::ot::base::{OTReceiver, OTSender};
use dkls23_core::utilities::ot::extension::OTEDataToSender;
use dkls23_core::utilities::proofs::{DLogProof, EncProof};
use dvm_blame::bip32::{Derived, derive};
use dvm_blame::ecdsa::{NoncePoint, SignatureTerms, TripleUse};
use dvm_microcode::dkls23::own::OwnVole;
use dvm_microcode::dkls23::pair::{self, PairOf};
use dvm_microcode::dkls23::vole::{PairPlace, Vole};
use dvm_microcode::dkls23::{Checked, Pairs, Terms, affine, check, commit, multiply};
use dvm_microcode::{EcdsaShare, OneTime, Roster, Secp256k1, Secret, SecretMessages, Session};
use k256::Scalar;
use k256_14::elliptic_curve::Field;
use rand_core::OsRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Outcome;
use crate::generate::{self, SESSION, names, told};
use crate::table::{Against, Row};
use crate::timing::{Effort, in_turns, median};

type Core = k256_14::Secp256k1;
type CoreScalar = k256_14::Scalar;

const SECTION: &str = "dkls";
const WHO: &str = "dkls23-core";
const RATIO_MAX: f64 = 1.1;
const BYTES_RATIO_MAX: f64 = 1.0;
/// With a kept triple, online, per signer.
const ONLINE_MS: f64 = 1.0;
/// What sealing adds to each message from kernel to kernel: an encapsulated key and a tag.
const SEAL_BYTES: usize = 48;
const DIGEST: [u8; 32] = [0x5a; 32];

/// Measures.
///
/// # Errors
/// A round that failed.
pub fn rows(effort: Effort) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for terms in [(2, 3), (3, 5)] {
        rows.extend(signing(effort, terms)?);
    }
    rows.extend(phases(effort)?);
    rows.extend(set_up(effort)?);
    Ok(rows)
}

fn peer(what: String, (ours, theirs): (f64, f64), unit: &'static str, ratio_max: f64) -> Row {
    let against = Against::Peer { who: WHO, figure: theirs, ratio_max };
    Row::new(SECTION, what, (ours, unit), against)
}

fn signing(effort: Effort, (t, n): (u16, u16)) -> Outcome<Vec<Row>> {
    let (own, library) = (Signers::new((t, n))?, Library::new((t, n))?);
    let sent = own.sign()?;
    let theirs = library.sign()?;
    let (ours_s, theirs_s) = in_turns(effort, || own.sign(), || library.sign());
    let each = 1e3 / f64::from(t);
    let online = median(effort, || own.checked(), |kept| kept.and_then(|kept| own.online(kept.0)));
    Ok(vec![
        peer(
            format!("sign, one signer of {t} of {n}"),
            (ours_s * each, theirs_s * each),
            "ms",
            RATIO_MAX,
        ),
        peer(
            format!("bytes sent by one signer of {t} of {n}, sealed"),
            (bytes(sent, t), bytes(theirs, t)),
            "",
            BYTES_RATIO_MAX,
        ),
        Row::new(
            SECTION,
            format!("online with a kept triple, one of {t} of {n}"),
            (online * each, "ms"),
            Against::AtMost(ONLINE_MS),
        ),
    ])
}

fn bytes(all: usize, t: u16) -> f64 {
    all as f64 / f64::from(t)
}

// ---- ours --------------------------------------------------------------------------------------

struct Signers {
    keys: Vec<EcdsaShare>,
    pairs: Vec<BTreeMap<String, PairOf<OwnVole>>>,
    roster: Roster,
    derived: Derived,
}

type Broadcasts<T> = BTreeMap<String, T>;
type Inboxes = BTreeMap<String, SecretMessages>;

impl Signers {
    /// Keys by the key generation, of which the first t sign, and these signers' pairs by base OTs.
    fn new((t, n): (u16, u16)) -> Outcome<Self> {
        let mut keys: Vec<EcdsaShare> = generate::keys::<Secp256k1>((t, n))?;
        keys.truncate(usize::from(t));
        let roster = Roster::new(names(t)).map_err(told)?;
        let public_key = keys.first().ok_or("no keys")?.group().public_key();
        let derived = derive(public_key, &[3; 32], &[]).map_err(told)?;
        Ok(Self { keys, pairs: pairs(t)?, roster, derived })
    }

    fn each(&self) -> impl Iterator<Item = (&EcdsaShare, Pairs<'_, OwnVole>)> {
        self.keys.iter().zip(&self.pairs).map(|(key, pairs)| {
            (key, pairs.iter().map(|(peer, pair)| (peer.clone(), pair)).collect())
        })
    }

    /// The three levels up to the checks, and the bytes that were sent.
    fn checked(&self) -> Outcome<(Vec<Checked>, usize)> {
        let (mut states, mut commitments, mut inboxes, mut bytes) =
            (Vec::new(), Broadcasts::new(), Inboxes::new(), 0);
        for (key, pairs) in self.each() {
            let terms =
                Terms::new([9; 32], key, self.roster.clone(), &self.derived).map_err(told)?;
            let (state, commitment, messages) =
                commit::<OwnVole>(&terms, 0, &pairs, &mut OsRng).map_err(told)?;
            bytes += commitment.len() + send(key.node(), messages, &mut inboxes);
            commitments.insert(key.node().to_owned(), commitment);
            states.push((key.node(), terms, pairs, state));
        }
        let (mut next, mut openings, mut answers) = (Vec::new(), Broadcasts::new(), Inboxes::new());
        for (node, terms, pairs, state) in states {
            let heard = (commitments.clone(), inboxes.get(node).ok_or("no messages")?);
            let (state, opening, messages) =
                multiply(&terms, state, &pairs, heard, &mut OsRng).map_err(told)?;
            bytes += opening.len() + send(node, messages, &mut answers);
            openings.insert(node.to_owned(), opening);
            next.push((node, terms, pairs, state));
        }
        let mut checked = Vec::new();
        for (node, terms, pairs, state) in next {
            let heard = (&openings, answers.get(node).ok_or("no messages")?);
            checked.push(check(&terms, state, &pairs, heard).map_err(told)?);
        }
        Ok((checked, bytes))
    }

    /// A whole signature at every signer; the bytes that were sent.
    fn sign(&self) -> Outcome<usize> {
        let (checked, bytes) = self.checked()?;
        let shares = checked.into_iter().map(|checked| affine(checked, &DIGEST)).collect();
        Ok(bytes + self.combine(shares)?)
    }

    /// The same from kept triples.
    fn online(&self, kept: Vec<Checked>) -> Outcome<usize> {
        let mut shares = Vec::new();
        for checked in kept {
            let taken = TripleUse {
                execution_id: &SESSION,
                batch: &SESSION,
                index: 0,
                nonce: &checked.nonce().encode(),
                public_key: self.derived.public_key(),
                digest: &DIGEST,
            };
            shares.push(checked.into_triple().scaled(&taken).map_err(told)?.affine());
        }
        self.combine(shares)
    }

    /// Every signer adds up and verifies.
    fn combine(&self, made: Vec<(Secret<[u8; 64]>, NoncePoint)>) -> Outcome<usize> {
        let mut shares = Broadcasts::new();
        for (key, (share, _)) in self.keys.iter().zip(&made) {
            shares.insert(key.node().to_owned(), share.expose(|share| share.to_vec()));
        }
        for (_, nonce) in &made {
            let public_key = self.derived.public_key();
            let terms =
                SignatureTerms { signers: &self.roster, public_key, nonce, digest: &DIGEST };
            terms.combine(&shares).map_err(told)?;
        }
        Ok(shares.values().map(Vec::len).sum())
    }
}

/// Hands each message to its reader; the bytes that were sent.
fn send(from: &str, messages: SecretMessages, inboxes: &mut Inboxes) -> usize {
    let mut bytes = 0;
    for (to, message) in messages {
        bytes += message.expose(Vec::len) + SEAL_BYTES;
        inboxes.entry(to).or_default().insert(from.to_owned(), message);
    }
    bytes
}

/// The set-up of all pairs of t parties, in their order.
fn pairs(t: u16) -> Outcome<Vec<BTreeMap<String, PairOf<OwnVole>>>> {
    let (mut states, mut offers) = (Vec::new(), Inboxes::new());
    for node in names(t) {
        let roster = Roster::new(names(t)).map_err(told)?;
        let session = Session::<Secp256k1>::new(SESSION, roster, t, &node).map_err(told)?;
        let (state, messages) = pair::offer::<OwnVole, _>(&session, &mut OsRng).map_err(told)?;
        send(&node, messages, &mut offers);
        states.push((node, state));
    }
    let (mut opened, mut openings) = (Vec::new(), Inboxes::new());
    for (node, state) in states {
        let received = offers.remove(&node).ok_or("no offers")?;
        let (state, messages) = pair::open(state, received).map_err(told)?;
        send(&node, messages, &mut openings);
        opened.push((node, state));
    }
    let (mut finished, mut digests) = (Vec::new(), Inboxes::new());
    for (node, state) in opened {
        let received = openings.get(&node).ok_or("no openings")?;
        let (state, messages) = pair::finish(state, received).map_err(told)?;
        send(&node, messages, &mut digests);
        finished.push((node, state));
    }
    let mut made = Vec::new();
    for (node, state) in finished {
        let received = digests.get(&node).ok_or("no digests")?;
        made.push(pair::agree(state, received).map_err(told)?);
    }
    Ok(made)
}

// ---- the library's -----------------------------------------------------------------------------

struct Library {
    parties: Vec<Party<Core>>,
    data: Vec<SignData>,
}

fn encode(message: &impl Serialize) -> Outcome<Vec<u8>> {
    Ok(postcard::to_allocvec(message)?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    Ok(postcard::from_bytes(bytes)?)
}

/// Messages on the wire: to whom, and what.
type Wire = Vec<(u8, Vec<u8>)>;

fn received<T: DeserializeOwned>(wire: &Wire, me: PartyIndex) -> Outcome<Vec<T>> {
    let mine = wire.iter().filter(|(to, _)| *to == me.as_u8());
    mine.map(|(_, bytes)| decode(bytes)).collect()
}

impl Library {
    fn new((t, n): (u16, u16)) -> Outcome<Self> {
        let (t, n) = (u8::try_from(t)?, u8::try_from(n)?);
        let parameters = Parameters::new(t, n).map_err(told)?;
        let secret = CoreScalar::ONE.double();
        let (mut parties, _) =
            re_key::<Core>(&parameters, b"bench", &secret, None, |_| String::new());
        parties.truncate(usize::from(t));
        let indices: Vec<PartyIndex> = parties.iter().map(|party| party.party_index).collect();
        let others = |me| indices.iter().copied().filter(|index| *index != me).collect();
        let data = indices.iter().map(|me| SignData {
            sign_id: b"bench".to_vec(),
            counterparties: others(*me),
            message_hash: DIGEST,
        });
        let data = data.collect();
        Ok(Self { parties, data })
    }

    /// A whole signature at every signer; the bytes that were sent.
    fn sign(&self) -> Outcome<usize> {
        let signers = || self.parties.iter().zip(&self.data);
        let (mut states, mut wire, mut bytes) = (Vec::new(), Wire::new(), 0);
        for (party, data) in signers() {
            let (unique, kept, sent) = party.sign_phase1(data).map_err(told)?;
            for message in &sent {
                wire.push((message.parties.receiver.as_u8(), encode(message)?));
            }
            states.push((unique, kept));
        }
        let (mut next, mut answers) = (Vec::new(), Wire::new());
        for ((party, data), (unique, kept)) in signers().zip(states) {
            let heard: Vec<TransmitPhase1to2> = received(&wire, party.party_index)?;
            let (unique, kept, sent) =
                party.sign_phase2(data, unique, kept, &heard).map_err(told)?;
            for message in &sent {
                answers.push((message.parties.receiver.as_u8(), encode(message)?));
            }
            next.push((unique, kept));
        }
        let (mut shares, mut x) = (Vec::new(), Vec::new());
        for ((party, data), (unique, kept)) in signers().zip(next) {
            let heard: Vec<TransmitPhase2to3<Core>> = received(&answers, party.party_index)?;
            let (own_x, share) = party.sign_phase3(data, unique, kept, &heard).map_err(told)?;
            shares.push(encode(&share)?);
            x.push(own_x);
        }
        for ((party, data), x) in signers().zip(&x) {
            let heard: Vec<Broadcast3to4<Core>> =
                shares.iter().map(|bytes| decode(bytes)).collect::<Outcome<_>>()?;
            party.sign_phase4(data, x, &heard, true).map_err(told)?;
        }
        // A signer broadcasts its share once.
        bytes += shares.iter().map(Vec::len).sum::<usize>();
        bytes += wire.iter().chain(&answers).map(|(_, bytes)| bytes.len()).sum::<usize>();
        Ok(bytes)
    }
}

// ---- the OLE alone -----------------------------------------------------------------------------

/// One direction of one pair: the receiver's message, the sender's answer, the receiver's end.
struct Ole {
    receiver: Secret<<OwnVole as Vole>::Pair>,
    sender: Secret<<OwnVole as Vole>::Pair>,
}

type Begun = (OneTime<<OwnVole as Vole>::Kept>, Secret<Vec<u8>>);

impl Ole {
    fn receive(&self) -> Outcome<Begun> {
        let begun = self.receiver.expose(|pair| OwnVole::receive(pair, &SESSION, &mut OsRng));
        let (_, kept, message) = begun.map_err(told)?;
        Ok((kept, message))
    }

    fn send(&self, message: &Secret<Vec<u8>>) -> Outcome<Secret<Vec<u8>>> {
        let input = [Scalar::from(5u64), Scalar::from(7u64)];
        let sent = message.expose(|message| {
            self.sender.expose(|pair| OwnVole::send(pair, &SESSION, &input, message, &mut OsRng))
        });
        Ok(sent.map_err(told)?.1)
    }

    fn complete(&self, (kept, answer): (Begun, Secret<Vec<u8>>)) -> Outcome<()> {
        let done = answer.expose(|answer| {
            self.receiver.expose(|pair| OwnVole::complete(pair, &SESSION, kept.0, answer))
        });
        done.map(drop).map_err(|fault| told(fault).into())
    }

    fn answered(&self) -> Outcome<(Begun, Secret<Vec<u8>>)> {
        let begun = self.receive()?;
        let answer = self.send(&begun.1)?;
        Ok((begun, answer))
    }
}

/// The same by the library.
struct LibraryOle {
    receiver: MulReceiver<Core>,
    sender: MulSender<Core>,
}

type LibraryBegun = (MulDataToKeepReceiver<Core>, Vec<u8>);

impl LibraryOle {
    fn new() -> Outcome<Self> {
        let mut parties = Library::new((2, 2))?.parties.into_iter();
        let first = parties.next().ok_or("no parties")?;
        let second = parties.next().ok_or("one party")?;
        Ok(Self {
            receiver: first.mul_receivers.values().next().ok_or("no receiver")?.clone(),
            sender: second.mul_senders.values().next().ok_or("no sender")?.clone(),
        })
    }

    fn receive(&self) -> Outcome<LibraryBegun> {
        let (_, kept, message) = self.receiver.run_phase1(&SESSION).map_err(told)?;
        Ok((kept, encode(&message)?))
    }

    fn send(&self, message: &[u8]) -> Outcome<Vec<u8>> {
        let input = [CoreScalar::from(5u64), CoreScalar::from(7u64)];
        let message: OTEDataToSender = decode(message)?;
        let (_, answer) = self.sender.run(&SESSION, &input, &message).map_err(told)?;
        encode(&answer)
    }

    fn complete(&self, (begun, answer): (LibraryBegun, Vec<u8>)) -> Outcome<()> {
        let answer: MulDataToReceiver<Core> = decode(&answer)?;
        let done = self.receiver.run_phase2(&SESSION, &begun.0, &answer);
        done.map(drop).map_err(|fault| told(fault).into())
    }

    fn answered(&self) -> Outcome<(LibraryBegun, Vec<u8>)> {
        let begun = self.receive()?;
        let answer = self.send(&begun.1)?;
        Ok((begun, answer))
    }
}

fn phases(effort: Effort) -> Outcome<Vec<Row>> {
    let (own, library) = (ole()?, LibraryOle::new()?);
    own.complete(own.answered()?)?;
    library.complete(library.answered()?)?;
    let (message, theirs) = (own.receive()?.1, library.receive()?.1);
    let received = in_turns(effort, || own.receive(), || library.receive());
    let sent = in_turns(effort, || own.send(&message), || library.send(&theirs));
    let ended = (
        median(effort, || own.answered(), |begun| begun.and_then(|begun| own.complete(begun))),
        median(effort, || library.answered(), |b| b.and_then(|begun| library.complete(begun))),
    );
    let row = |what: &str, (ours, theirs): (f64, f64)| {
        let against = Against::Reference { who: WHO, figure: theirs * 1e3 };
        Row::new(SECTION, format!("OLE: {what}"), (ours * 1e3, "ms"), against)
    };
    Ok(vec![
        row("the receiver's message", received),
        row("the sender's answer", sent),
        row("the receiver's end", ended),
    ])
}

/// One pair of set-ups that belong together.
fn ole() -> Outcome<Ole> {
    let (one, other) = places();
    let (mine, theirs) = (offered(&one)?, offered(&other)?);
    Ok(Ole {
        receiver: finished(&one, mine.0, &theirs.1)?,
        sender: finished(&other, theirs.0, &mine.1)?,
    })
}

type Offered = (Secret<<OwnVole as Vole>::Offered>, Secret<Vec<u8>>);

fn places() -> (PairPlace<'static>, PairPlace<'static>) {
    let (me, peer, sid) = ("node-1", "node-2", &SESSION);
    (PairPlace { sid, me, peer }, PairPlace { sid, me: peer, peer: me })
}

fn offered(at: &PairPlace) -> Outcome<Offered> {
    Ok(OwnVole::offer(at, &mut OsRng).map_err(told)?)
}

fn finished(
    at: &PairPlace,
    own: Secret<<OwnVole as Vole>::Offered>,
    theirs: &Secret<Vec<u8>>,
) -> Outcome<Secret<<OwnVole as Vole>::Pair>> {
    let made = theirs.expose(|theirs| OwnVole::finish(at, own, theirs));
    Ok(made.map_err(told)?)
}

// ---- the set-up of a pair ----------------------------------------------------------------------

/// One party's part in both directions, offers over a wire.
fn set_up(effort: Effort) -> Outcome<Vec<Row>> {
    // A set-up is some hundred times a signature.
    let effort = Effort { batches: effort.batches.div_ceil(10), ..effort };
    let (at, back) = places();
    let theirs = offered(&back)?.1;
    let offer = in_turns(effort, || offered(&at), library_offer);
    let (_, library_theirs) = library_offer()?;
    let finish = median(effort, || offered(&at), |own| finished(&at, own?.0, &theirs));
    let library_finish =
        median(effort, library_offer, |own| library_finished(own?.0, &library_theirs));
    let row = |what: &str, (ours, theirs): (f64, f64)| {
        let against = Against::Reference { who: WHO, figure: theirs * 1e3 };
        Row::new(SECTION, format!("set-up of a pair: {what}"), (ours * 1e3, "ms"), against)
    };
    Ok(vec![row("offer", offer), row("finish", (finish, library_finish))])
}

struct LibraryOffer {
    sender: OTSender<Core>,
    nonce: CoreScalar,
    receiver: OTReceiver,
    choices: Vec<bool>,
    exponents: Vec<CoreScalar>,
}

fn library_offer() -> Outcome<(LibraryOffer, Vec<u8>)> {
    let (sender, proof, nonce) = MulReceiver::<Core>::init_phase1(&SESSION);
    let (receiver, choices, exponents, proofs) = MulSender::<Core>::init_phase1(&SESSION);
    let message = encode(&(&proof, &nonce, &receiver.seed, &proofs))?;
    Ok((LibraryOffer { sender, nonce, receiver, choices, exponents }, message))
}

type LibraryMessage = (DLogProof<Core>, CoreScalar, [u8; 32], Vec<EncProof<Core>>);

fn library_finished(own: LibraryOffer, theirs: &[u8]) -> Outcome<()> {
    let (proof, nonce, seed, proofs): LibraryMessage = decode(theirs)?;
    MulSender::<Core>::init_phase2(
        &own.receiver,
        &SESSION,
        own.choices,
        &own.exponents,
        &proof,
        &nonce,
    )
    .map_err(told)?;
    MulReceiver::<Core>::init_phase2(&own.sender, &SESSION, &seed, &proofs, &own.nonce)
        .map_err(told)?;
    Ok(())
}
