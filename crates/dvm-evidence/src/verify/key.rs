//! The key behind a run: which backend performs the act, with which key, and by whom.

use dvm_blame::SuiteGroupKey;
use dvm_core::authority::KeyReady;
use dvm_core::intent::{Act, Backend};
use dvm_core::reason::ReasonCode;
use dvm_core::run::RunHeader;
use dvm_governance::AuthorityState;
use dvm_policy::account_of;

use crate::verify::{Case, Refused, ensure};

/// The backend of an act at this state; for a signature also the key's facts.
pub(crate) fn key_at(
    case: &Case<'_>,
    state: &AuthorityState,
    path: &str,
) -> Result<(Backend, Option<KeyReady>), Refused> {
    match case.act.act() {
        Act::KeyGenerate { backend, .. } => Ok((*backend, None)),
        act => {
            let record = state.key(act.key_id()).filter(|r| r.epoch == act.key_epoch());
            let record = record.ok_or_else(|| Refused::at(path, "the key is not in the log"))?;
            Ok((record.ready.backend, Some(record.ready.clone())))
        }
    }
}

/// Exactly t holders for a signature, all holders for a new key; sorted.
pub(crate) fn participants_fit(
    case: &Case<'_>,
    state: &AuthorityState,
    header: &RunHeader,
    path: &str,
) -> Result<(), Refused> {
    let participants = &header.participants;
    let fit = match (case.act.act(), key_at(case, state, path)?.1) {
        (Act::KeyGenerate { roster, .. }, _) => participants == roster,
        (_, Some(ready)) => {
            participants.len() == usize::from(ready.threshold)
                && participants.iter().all(|p| ready.roster.contains(p))
        }
        (_, None) => false,
    };
    let sorted = participants.is_sorted_by(|a, b| a < b);
    ensure(fit && sorted, &format!("{path}/header"), "the participants do not fit the key")
}

/// The key that a signature of this act is under: the one of the facts, or the one at the act's path below it.
pub(crate) fn signing_key(act: &Act, ready: &KeyReady, path: &str) -> Result<Vec<u8>, Refused> {
    dvm_blame::signing_key(ready, act.path())
        .map_err(|_| Refused::at(path, "there is no key at this path"))
}

/// That the account which people were shown is that of the key that signs.
pub(crate) fn check_account(act: &Act, ready: &KeyReady, path: &str) -> Result<(), Refused> {
    let Act::SignEvmTransaction { path: below, from, .. } = act else { return Ok(()) };
    let what = "the account is not that of the key at the act's path";
    if account_of(ready, below) == Some(*from) {
        return Ok(());
    }
    Err(Refused::code(path, ReasonCode::BindingMismatch, what))
}

/// The group key in a key's facts, which must say the same as the facts.
pub(crate) fn group_key(ready: &KeyReady, path: &str) -> Result<SuiteGroupKey, Refused> {
    let key = SuiteGroupKey::decode(ready.backend.into(), &ready.package)
        .map_err(|_| Refused::at(path, "the key package is no group key of its suite"))?;
    let nodes = ready.roster.iter().map(|n| n.as_str());
    let same = key.public_key() == ready.public_key.0.as_slice()
        && key.threshold() == ready.threshold
        && key.roster().nodes().eq(nodes);
    ensure(same, path, "the key package says something else than the key's facts")?;
    Ok(key)
}
