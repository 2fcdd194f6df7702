//! The judgement: may this act run, may this result leave.
//!
//! Source: the design's chapter on policies; Cedar's semantics, except that an error denies. The
//! engine itself skips a policy that errs, so a forbid that errs would let things through.
//!
//! Order: policy root, authority, act, approvals, floor, limit, engine. `awaiting` is a denial that
//! more approvals, and nothing else, would turn into an admission.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Decision, Response};
use dvm_act::ParsedAct;
use dvm_act::evm::Transaction;
use dvm_core::admission::{AdmissionReceipt, Approval, PolicyReceipt, Purpose, Verdict};
use dvm_core::authority::{ApprovalRule, ReleaseRule};
use dvm_core::codec::link_of;
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_core::limits::APPROVALS_MAX;
use dvm_core::{B32, Link, NodeId, ReasonCode, Signed};
use dvm_governance::{
    ApprovalContext, Authority, AuthorityState, approvals_by, authority_behind, check_floor_admit,
    check_floor_release,
};

use crate::files::PolicySet;
use crate::ledger::Ledger;
use crate::request::{Facts, Role, Tally, account_of};

/// What both kinds of judgement rest on.
#[derive(Clone, Copy, Debug)]
pub struct JudgeInput<'a> {
    /// The fold of the certified log.
    pub state: &'a AuthorityState,
    /// The intent.
    pub intent: &'a CanonicalIntent,
    /// Every approval at hand; what does not fit does not count.
    pub approvals: &'a [Signed<Approval>],
    /// What the requester may be here.
    pub roles: &'a BTreeSet<Role>,
    /// This node's clock.
    pub now_ms: u64,
    /// Fresh random bytes, so that the private receipt's link confirms no guess.
    pub salt: B32,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Yes, no, or not yet.
    pub verdict: Verdict,
    /// Why, when it is not `allow`. Sorted.
    pub codes: Vec<ReasonCode>,
    /// Names of the rules that decided. Sorted.
    pub rules: Vec<String>,
    /// Links of the approvals that counted: those the floor rests on when it is met. Sorted.
    pub approvals: Vec<Link>,
    /// The private side; it stays on this node.
    pub policy_receipt: PolicyReceipt,
}

/// Judges an act before it runs. The caller reserves in the ledger in the same transaction in which
/// it stores the receipt.
pub fn admit(
    policies: &PolicySet,
    input: &JudgeInput<'_>,
    act: &ParsedAct,
    ledger: &Ledger,
) -> Judgement {
    let (key_id, intent) = (input.intent.act.key_id(), link_of(input.intent));
    let executions = ledger.used_by_others(key_id, &intent, input.now_ms);
    let is_the_act =
        *act.act() == input.intent.act && act.display().hash() == input.intent.display_hash;
    let transaction = act.transaction();
    Judge { policies, input, purpose: &Purpose::Admit, executions, transaction }.judge(is_the_act)
}

/// Judges whether a held result may leave, now. `purpose` names the execution and the result.
pub fn release(policies: &PolicySet, input: &JudgeInput<'_>, purpose: &Purpose) -> Judgement {
    let is_release = *purpose != Purpose::Admit;
    Judge { policies, input, purpose, executions: 0, transaction: None }.judge(is_release)
}

/// The public receipt of a judgement. The node signs it with its policy key.
pub fn admission_receipt(
    judgement: &Judgement,
    input: &JudgeInput<'_>,
    purpose: Purpose,
    node: NodeId,
) -> AdmissionReceipt {
    AdmissionReceipt {
        cluster: input.state.cluster(),
        node,
        intent: link_of(input.intent),
        purpose,
        verdict: judgement.verdict,
        codes: judgement.codes.clone(),
        rules: judgement.rules.clone(),
        policy_root: input.state.policy_root(),
        policy_receipt: link_of(&judgement.policy_receipt),
        approvals: judgement.approvals.clone(),
        key_id: input.intent.act.key_id().clone(),
        key_epoch: input.intent.act.key_epoch(),
        head: input.state.head(),
        time_ms: input.now_ms,
    }
}

/// A denial outside the engine: which rule, and why.
struct Denied {
    rule: &'static str,
    code: ReasonCode,
}

/// What the engine said.
struct Answer {
    allowed: bool,
    rules: Vec<String>,
    errors: Vec<String>,
}

struct Judge<'a> {
    policies: &'a PolicySet,
    input: &'a JudgeInput<'a>,
    purpose: &'a Purpose,
    executions: u32,
    /// What is to be signed, if it is a transaction and this is an admission.
    transaction: Option<&'a Transaction>,
}

impl Judge<'_> {
    fn judge(&self, well_bound: bool) -> Judgement {
        let authority = match self.before_engine(well_bound) {
            Ok(authority) => authority,
            Err(denied) => return self.denied(&denied),
        };
        let (floor_met, approvals) = match self.floor(&authority) {
            Ok(links) => (true, links),
            Err(ReasonCode::ApprovalsMissing) => (false, Vec::new()),
            Err(code) => return self.denied(&Denied { rule: "floor", code }),
        };
        let tally = self.tally();
        let facts = self.facts(&authority, &tally, floor_met);
        let answer = self.ask(&facts);
        let (verdict, codes, rules) = if !answer.errors.is_empty() {
            (Verdict::Deny, vec![ReasonCode::PolicyDenied], answer.rules.clone())
        } else if answer.allowed && floor_met {
            (Verdict::Allow, Vec::new(), answer.rules.clone())
        } else if let Some(rules) = self.with_every_approval(&authority) {
            (Verdict::Awaiting, vec![ReasonCode::ApprovalsMissing], rules)
        } else {
            (Verdict::Deny, vec![ReasonCode::PolicyDenied], answer.rules.clone())
        };
        Judgement {
            verdict,
            codes: self.gate(codes),
            rules,
            approvals,
            policy_receipt: self.private(facts.describe(), &answer, &authority),
        }
    }

    fn before_engine(&self, well_bound: bool) -> Result<Authority<'_>, Denied> {
        let denied = |rule, code| Denied { rule, code };
        let JudgeInput { state, intent, approvals, now_ms, .. } = *self.input;
        if self.policies.policy_root() != state.policy_root() {
            return Err(denied("policy-root", ReasonCode::PolicyDenied));
        }
        let authority = authority_behind(state, intent, self.purpose, now_ms)
            .map_err(|code| denied("authority", code))?;
        if !well_bound {
            return Err(denied("binding", ReasonCode::BindingMismatch));
        }
        if let (Act::SignEvmTransaction { path, from, .. }, Some(record)) =
            (&intent.act, authority.record())
            && account_of(&record.ready, path) != Some(*from)
        {
            return Err(denied("sender", ReasonCode::BindingMismatch));
        }
        if approvals.len() > APPROVALS_MAX {
            return Err(denied("approvals", ReasonCode::ResourceLimit));
        }
        // Material is no execution: what spends it is.
        let counts = *self.purpose == Purpose::Admit && intent.act.publishes();
        if counts && self.executions >= authority.floor().executions_per_hour {
            return Err(denied("executions-per-hour", ReasonCode::ResourceLimit));
        }
        Ok(authority)
    }

    fn context(&self) -> ApprovalContext<'_> {
        ApprovalContext::of(self.input.state, self.input.intent, self.purpose, self.input.now_ms)
    }

    fn floor(&self, authority: &Authority<'_>) -> Result<Vec<Link>, ReasonCode> {
        let (floor, sets, approvals) =
            (authority.floor(), self.input.state.sets(), self.input.approvals);
        match self.purpose {
            Purpose::Admit => {
                let class = self.input.intent.act.class();
                check_floor_admit(floor, class, sets, approvals, &self.context())
            }
            Purpose::Release { .. } => check_floor_release(floor, sets, approvals, &self.context()),
        }
    }

    fn tally(&self) -> Tally {
        let context = self.context();
        let sets = self.input.state.sets().iter();
        sets.map(|(name, set)| {
            (name.clone(), approvals_by(set, self.input.approvals, &context).len())
        })
        .collect()
    }

    /// What the tally would be if everyone but the requester approved.
    fn full_tally(&self) -> Tally {
        let others = |set: &dvm_core::authority::ApproverSet| {
            set.members.iter().filter(|p| p.person != self.input.intent.requester).count()
        };
        self.input.state.sets().iter().map(|(name, set)| (name.clone(), others(set))).collect()
    }

    fn facts<'f>(
        &'f self,
        authority: &Authority<'f>,
        tally: &'f Tally,
        floor_met: bool,
    ) -> Facts<'f> {
        Facts {
            state: self.input.state,
            intent: self.input.intent,
            record: authority.record(),
            purpose: self.purpose,
            roles: self.input.roles,
            tally,
            floor_met,
            executions_last_hour: self.executions,
            now_ms: self.input.now_ms,
            transaction: self.transaction,
        }
    }

    fn ask(&self, facts: &Facts<'_>) -> Answer {
        let (request, entities) = match facts.ask(self.policies) {
            Ok(asked) => asked,
            Err(problem) => {
                return Answer { allowed: false, rules: Vec::new(), errors: vec![problem] };
            }
        };
        let response: Response =
            Authorizer::new().is_authorized(&request, &self.policies.cedar, &entities);
        let mut rules: Vec<String> =
            response.diagnostics().reason().map(ToString::to_string).collect();
        let mut errors: Vec<String> =
            response.diagnostics().errors().map(ToString::to_string).collect();
        rules.sort();
        errors.sort();
        Answer { allowed: response.decision() == Decision::Allow, rules, errors }
    }

    /// The rules that would permit it if every approver but the requester said yes.
    fn with_every_approval(&self, authority: &Authority<'_>) -> Option<Vec<String>> {
        let tally = self.full_tally();
        let floor = authority.floor();
        let asks = self.input.intent.act.publishes();
        let rule = match (self.purpose, &floor.release) {
            (Purpose::Admit, _) => floor.admit.as_ref().filter(|_| asks),
            (Purpose::Release { .. }, ReleaseRule::Approvals(rule)) => Some(rule),
            (Purpose::Release { .. }, ReleaseRule::Auto) => None,
        };
        let reaches = |rule: &ApprovalRule| {
            tally.get(&rule.set).is_some_and(|most| *most >= usize::from(rule.k))
        };
        let floor_met = rule.is_none_or(reaches);
        let answer = self.ask(&self.facts(authority, &tally, floor_met));
        (floor_met && answer.allowed && answer.errors.is_empty()).then_some(answer.rules)
    }

    /// At the gate every refusal by policy is a `PUBLICATION_DENIED`, too.
    fn gate(&self, mut codes: Vec<ReasonCode>) -> Vec<ReasonCode> {
        if *self.purpose != Purpose::Admit && codes.contains(&ReasonCode::PolicyDenied) {
            codes.push(ReasonCode::PublicationDenied);
        }
        codes.sort();
        codes
    }

    fn denied(&self, denied: &Denied) -> Judgement {
        let policy_receipt = PolicyReceipt {
            salt: self.input.salt,
            intent: link_of(self.input.intent),
            request: format!("refused before the engine by `{}`", denied.rule),
            rules: vec![denied.rule.to_owned()],
            errors: Vec::new(),
            limits: Vec::new(),
        };
        Judgement {
            verdict: Verdict::Deny,
            codes: self.gate(vec![denied.code]),
            rules: vec![denied.rule.to_owned()],
            approvals: Vec::new(),
            policy_receipt,
        }
    }

    fn private(
        &self,
        request: String,
        answer: &Answer,
        authority: &Authority<'_>,
    ) -> PolicyReceipt {
        let cap = authority.floor().executions_per_hour;
        let limits = match self.purpose {
            Purpose::Admit if self.input.intent.act.publishes() => vec![
                (
                    "executions in the last hour, with this".to_owned(),
                    u64::from(self.executions) + 1,
                ),
                ("executions per hour, at most".to_owned(), u64::from(cap)),
            ],
            Purpose::Admit | Purpose::Release { .. } => Vec::new(),
        };
        PolicyReceipt {
            salt: self.input.salt,
            intent: link_of(self.input.intent),
            request,
            rules: answer.rules.clone(),
            errors: answer.errors.clone(),
            limits,
        }
    }
}
