//! The key generation at every party, all in one place: what other measures start from.

use std::collections::BTreeMap;

use dvm_microcode::{FrostSuite, KeyShare, Roster, Session, SessionId, dkg};
use rand_core::OsRng;

use crate::Outcome;

/// The one session of every benchmark.
pub const SESSION: SessionId = [7; 32];

/// A round's error, told.
pub fn told(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// Keys of t of n.
///
/// # Errors
/// A round that failed.
pub fn keys<C: FrostSuite>(terms: (u16, u16)) -> Outcome<Vec<KeyShare<C>>> {
    let finished = finished(terms)?;
    confirmed(finished, terms.0)
}

/// The parties' names.
pub fn names(size: u16) -> Vec<String> {
    (1..=size).map(|index| format!("node-{index}")).collect()
}

/// The key generation at every party, up to shares that are finished and not agreed on.
pub fn finished<C: FrostSuite>((threshold, size): (u16, u16)) -> Outcome<Vec<dkg::Unconfirmed<C>>> {
    let (mut committed, mut hashes) = (Vec::new(), BTreeMap::new());
    for node in names(size) {
        let roster = Roster::new(names(size)).map_err(told)?;
        let session = Session::<C>::new(SESSION, roster, threshold, &node).map_err(told)?;
        let (state, hash) = dkg::commit(session, &mut OsRng).map_err(told)?;
        committed.push((node.clone(), state));
        hashes.insert(node, hash);
    }
    let (mut opened, mut openings) = (Vec::new(), Vec::new());
    for (node, state) in committed {
        let (state, opening) = dkg::open(state, hashes.clone()).map_err(told)?;
        opened.push((node.clone(), state));
        openings.push((node, opening));
    }
    let (mut shared, mut inboxes) = (Vec::new(), BTreeMap::<String, BTreeMap<_, _>>::new());
    for (node, state) in opened {
        let mut verified = Vec::new();
        for (from, opening) in openings.iter().filter(|(from, _)| *from != node) {
            let received = opening.expose(|bytes| dkg::receive_opening(&state, from, bytes));
            verified.push(received.map_err(told)?);
        }
        let (state, shares) = dkg::share(state, verified).map_err(told)?;
        for (to, share) in shares {
            inboxes.entry(to).or_default().insert(node.clone(), share);
        }
        shared.push((node, state));
    }
    let mut finished = Vec::new();
    for (node, state) in shared {
        let inbox = inboxes.remove(&node).ok_or("no shares for a party")?;
        finished.push(dkg::finish(state, &inbox).map_err(told)?);
    }
    Ok(finished)
}

/// Agreement and probe, without which there is no key share.
pub fn confirmed<C: FrostSuite>(
    finished: Vec<dkg::Unconfirmed<C>>,
    threshold: u16,
) -> Outcome<Vec<KeyShare<C>>> {
    let names = names(u16::try_from(finished.len())?);
    let transcripts: BTreeMap<String, [u8; 32]> =
        names.iter().cloned().zip(finished.iter().map(|state| *state.transcript())).collect();
    let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
    for (node, state) in names.iter().cloned().zip(&finished).take(usize::from(threshold)) {
        let (own, bytes) = state.probe_commit(&mut OsRng).map_err(told)?;
        nonces.push(own);
        commitments.insert(node, bytes);
    }
    let mut agreed = Vec::new();
    for state in finished {
        agreed.push(dkg::agree(state, &transcripts).map_err(told)?);
    }
    let mut shares = BTreeMap::new();
    for ((node, state), own) in names.iter().cloned().zip(&agreed).zip(nonces) {
        shares.insert(node, dkg::probe_partial(state, own, &commitments).map_err(told)?);
    }
    let confirm = |state| Ok(dkg::probe_confirm(state, &commitments, &shares).map_err(told)?);
    agreed.into_iter().map(confirm).collect()
}
