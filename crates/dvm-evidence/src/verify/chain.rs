//! A peer's receipt chain, as far as it is on this intent: a receipt left out shows, unless it was the last.

use std::collections::BTreeSet;

use dvm_core::Link;
use dvm_core::sign::Signed;

use crate::peer::PeerEvidence;
use crate::verify::verdict::path_of;
use crate::verify::{Case, Refused, ensure};

/// Links of every receipt in a part.
pub(crate) fn receipts(part: &PeerEvidence) -> Vec<Link> {
    let mut links: Vec<Link> = part.admissions.iter().map(Signed::link).collect();
    for run in &part.runs {
        links.extend(run.permit_receipt.as_ref().map(Signed::link));
        links.extend(run.publications.iter().map(Signed::link));
    }
    links
}

/// The entries are signed, each follows the one before it on the same intent, and they are of the part's receipts, each
/// once.
pub(crate) fn check_chain(case: &Case<'_>, part: &PeerEvidence) -> Result<(), Refused> {
    let passport = case.history.last().passport(&part.node);
    let mut before: Option<(u64, Link)> = None;
    let mut places = BTreeSet::new();
    for (i, entry) in part.chain.iter().enumerate() {
        let path = path_of(&part.node, &format!("chain/{i}"));
        let body = &entry.body;
        let signed = passport.is_some_and(|p| entry.verify(p.policy_key).is_ok());
        ensure(signed, &path, "the entry is not signed by its node's policy key")?;
        let own = body.cluster == case.history.cluster() && body.node == part.node;
        ensure(own, &path, "the entry is of another chain")?;
        ensure(
            (body.seq == 0) == body.prev.is_none(),
            &path,
            "only the first entry has none before it",
        )?;
        let follows = before.is_none_or(|(seq, _)| seq < body.seq)
            && body.same_intent == before.map(|(_, link)| link);
        ensure(follows, &path, "an entry on this intent is missing before this one")?;
        ensure(places.insert(body.receipt), &path, "a receipt has two places in the chain")?;
        before = Some((body.seq, entry.link()));
    }
    let own: BTreeSet<Link> = receipts(part).into_iter().collect();
    ensure(
        own == places,
        &path_of(&part.node, "chain"),
        "the chain is not of the part's receipts and of no other",
    )
}
