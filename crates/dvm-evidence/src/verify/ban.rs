//! Bans: a kernel's word that it works with a peer on a key no more, held against the run that it names.
//!
//! Always true of a ban that passes: its kernel signed it after opening this run, a call of this run failed
//! in the step that it names, and the frame that it names is one that the peer's kernel signed in the level
//! before. Whether the check that failed was right, only the kernel that made it knows.

use dvm_core::receipt::BanRecord;
use dvm_core::sign::Signed;
use dvm_core::trace::Outcome;
use dvm_governance::AuthorityState;

use crate::verify::run::results;
use crate::verify::{CheckedRun, Refused, ensure};

/// Every ban that a peer's kernel stated in a run.
pub(crate) fn check_bans(run: &CheckedRun<'_>, state: &AuthorityState) -> Result<(), Refused> {
    let bans = &run.run.bans;
    let Some(first) = bans.first() else { return Ok(()) };
    let path = |i: usize| format!("{}/bans/{i}", run.path);
    let distinct = bans.is_sorted_by(|a, b| a.body.culprit < b.body.culprit);
    ensure(distinct, &path(0), "the banned peers are not sorted and distinct")?;
    let blamed = results(run.run).find(|result| result.step == first.body.step);
    let blamed = blamed.and_then(|result| match &result.outcome {
        Outcome::Fault { blame, .. } => blame.as_ref(),
        Outcome::Ok { .. } => None,
    });
    // A fault names one peer; where a check named several, the others are in the bans alone.
    let named = bans.iter().any(|ban| Some(&ban.body.culprit) == blamed);
    ensure(named, &path(0), "no call of the run failed for a peer that was banned")?;
    for (i, ban) in bans.iter().enumerate() {
        check_ban(run, state, (ban, &first.body), &path(i))?;
    }
    Ok(())
}

fn check_ban(
    run: &CheckedRun<'_>,
    state: &AuthorityState,
    (ban, first): (&Signed<BanRecord>, &BanRecord),
    path: &str,
) -> Result<(), Refused> {
    let (body, header) = (&ban.body, run.ctx.header());
    let key = state.passport(&run.part.node).map(|p| p.kernel_key);
    let signed = key.is_some_and(|key| ban.verify(key).is_ok());
    ensure(signed, path, "the ban is not signed by its node's kernel")?;
    let about = body.cluster == header.cluster
        && body.node == run.part.node
        && body.execution_id == run.ctx.execution_id()
        && body.key_epoch == header.key_epoch
        && Some(&body.key_id) == run.ready.as_ref().map(|ready| &ready.key_id);
    ensure(about, path, "the ban is of another run or key")?;
    let own = run.run.proposal.opens.iter().map(|o| &o.body).find(|o| o.node == body.node);
    let opened = own.is_none_or(|o| o.boot == body.boot && o.vault_seq < body.vault_seq);
    ensure(opened, path, "the ban is of another boot than the opening, or older")?;
    let step = run.ctx.plan().steps.get(usize::from(body.step));
    let placed = (body.step, body.level) == (first.step, first.level)
        && step.is_some_and(|step| step.level == body.level);
    ensure(placed, path, "the bans of one failure name different steps, or none of the plan")?;
    let said = run.frames().any(|fact| {
        let frame = &fact.header.body;
        frame.from == body.culprit
            && frame.level.checked_add(1) == Some(body.level)
            && fact.header.link() == body.header
    });
    ensure(said, path, "the banned peer's kernel signed no such frame in the level before")
}
