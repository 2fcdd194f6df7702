//! Scores and plans for people (`dvm score show l1 | l0 | plan`), and as plain data for JSON.
//!
//! Always true: nothing here is hashed or read back; the text may change, the ids do not.

use std::fmt::Write;

use serde::Serialize;

use crate::ir::{Coeff, KeyRef, Label, MaterialKind, Message, Score, SiteOp, Slot, Type, Var};
use crate::op::{Plan, Step};

/// A score as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScoreView {
    /// Hex.
    pub score_id: String,
    /// What it is for.
    pub workflow: &'static str,
    /// How many take part.
    pub parties: u16,
    /// Shares that sign with the key.
    pub threshold: u16,
    /// The program.
    pub sites: Vec<SiteView>,
}

/// A site as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteView {
    /// Its position.
    pub site: u16,
    /// The kind of site.
    pub kind: &'static str,
    /// The whole expression, as in the text.
    pub expression: String,
    /// Its results: (name, type, label).
    pub gives: Vec<(String, &'static str, String)>,
    /// What it does to secrets and to the world.
    pub effect: &'static str,
}

/// A plan as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanView {
    /// Hex.
    pub plan_id: String,
    /// Hex.
    pub score_id: String,
    /// Name and version.
    pub backend: String,
    /// The interpreter's version.
    pub vm_version: u16,
    /// Sorted.
    pub participants: Vec<String>,
    /// How many levels.
    pub levels: u16,
    /// In plan order.
    pub steps: Vec<StepView>,
}

/// A step as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// Its position.
    pub index: u16,
    /// When.
    pub level: u16,
    /// The site that it belongs to.
    pub site: u16,
    /// What it does.
    pub op: &'static str,
    /// How it speaks.
    pub phase: &'static str,
    /// Payload bytes at most.
    pub len_max: u32,
    /// What it does to secrets.
    pub effect: &'static str,
    /// Steps that it needs.
    pub inputs: Vec<u16>,
}

impl From<&Score> for ScoreView {
    fn from(score: &Score) -> Self {
        let sites = (0..).zip(&score.sites).map(|(at, site)| SiteView {
            site: at,
            kind: site.op.kind().name(),
            expression: expression(&site.op),
            gives: (0..)
                .zip(&site.gives)
                .map(|(out, slot)| {
                    let name = name(Var { site: at, out });
                    (name, type_name(slot.ty), label(&slot.label, score.parties))
                })
                .collect(),
            effect: site.op.effect().name(),
        });
        Self {
            score_id: score.id().hex(),
            workflow: score.workflow.name(),
            parties: score.parties,
            threshold: score.threshold,
            sites: sites.collect(),
        }
    }
}

impl From<&Plan> for PlanView {
    fn from(plan: &Plan) -> Self {
        let step = |s: &Step| StepView {
            index: s.index,
            level: s.level,
            site: s.site,
            op: s.op.name(),
            phase: s.phase.kind.name(),
            len_max: s.phase.len_max,
            effect: s.effect.name(),
            inputs: s.inputs.clone(),
        };
        Self {
            plan_id: plan.id().hex(),
            score_id: plan.score_id.hex(),
            backend: plan.backend.clone(),
            vm_version: plan.vm_version,
            participants: plan.participants.iter().map(ToString::to_string).collect(),
            levels: plan.levels(),
            steps: plan.steps.iter().map(step).collect(),
        }
    }
}

/// L1: the score, one site per line.
pub fn l1(score: &Score) -> String {
    let view = ScoreView::from(score);
    let mut out = format!(
        "score {}\n{}, {} parties, threshold {}\n\n",
        view.score_id, view.workflow, view.parties, view.threshold
    );
    for (view, site) in view.sites.iter().zip(&score.sites) {
        let names: Vec<&str> = view.gives.iter().map(|(name, ..)| name.as_str()).collect();
        let bound = if names.is_empty() {
            format!("     {}", view.expression)
        } else {
            format!("{} = {}", bracket(&names), view.expression)
        };
        let gives = site.gives.first().map_or(String::new(), |slot| type_text(slot, score.parties));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {bound:<52} {:<8} {gives}", view.effect);
    }
    trimmed(&out)
}

/// L0: the micro-ops of each site, without levels.
pub fn l0(score: &Score, plan: &Plan) -> String {
    let mut out = format!("{} performs {}\n\n", plan.backend, score.workflow.name());
    for (at, site) in (0_u16..).zip(&score.sites) {
        let mut steps: Vec<&Step> = plan.steps.iter().filter(|s| s.site == at).collect();
        steps.sort_by_key(|s| s.index);
        let ops: Vec<&str> = steps.iter().map(|s| s.op.name()).collect();
        let ops = if ops.is_empty() { "-".to_owned() } else { ops.join(" + ") };
        let kind = site.op.kind().name();
        let _ = writeln!(out, "  %{at:<3} {kind:<16} => {ops}");
    }
    out
}

/// The plan: the steps of each level, which travel in one frame per ordered pair of peers.
pub fn plan(plan: &Plan) -> String {
    let peers: Vec<String> = plan.participants.iter().map(ToString::to_string).collect();
    let mut out = format!(
        "plan {}\nscore {}\n{} on {}, vm {}\n",
        plan.id(),
        plan.score_id,
        plan.backend,
        peers.join(", "),
        plan.vm_version
    );
    for level in 1..=plan.levels() {
        let _ = writeln!(out, "\nlevel {level}");
        if plan.at_level(level).next().is_none() {
            let _ = writeln!(out, "  (nothing to say: the frame confirms the level before)");
        }
        for s in plan.at_level(level) {
            let len = if s.phase.kind.speaks() {
                format!("<= {} B", s.phase.len_max)
            } else {
                String::new()
            };
            let inputs: Vec<String> = s.inputs.iter().map(|i| format!("#{i}")).collect();
            let _ = writeln!(
                out,
                "  #{:<3} %{:<3} {:<15} {:<10} {:<8} {:<10} {}",
                s.index,
                s.site,
                s.op.name(),
                s.phase.kind.name(),
                s.effect.name(),
                len,
                inputs.join(" ")
            );
        }
    }
    trimmed(&out)
}

/// Lines whose last column is empty end in blanks.
fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn bracket(names: &[&str]) -> String {
    match names {
        [one] => (*one).to_owned(),
        many => format!("({})", many.join(", ")),
    }
}

fn name(var: Var) -> String {
    if var.out == 0 { format!("%{}", var.site) } else { format!("%{}.{}", var.site, var.out) }
}

fn expression(op: &SiteOp) -> String {
    let kind = op.kind().name();
    match op {
        SiteOp::ShareLoad => format!("{kind}(key)"),
        SiteOp::ShareRand | SiteOp::ShareZero => kind.to_owned(),
        SiteOp::ShareLin { terms } => {
            let terms: Vec<String> =
                terms.iter().map(|t| format!("{}[{}]", factor(t.coeff), name(t.share))).collect();
            format!("{kind}({})", terms.join(" + "))
        }
        SiteOp::Transcript { commitment, key, message } => {
            let key = match key {
                KeyRef::Intent => "X".to_owned(),
                KeyRef::Of(var) => name(*var),
            };
            format!("{kind}({}, {key}, {})", name(*commitment), message_name(*message))
        }
        SiteOp::Reshare { a, threshold } => format!("{kind}([{}], t={threshold})", name(*a)),
        SiteOp::Take { batch, index, kind: material } => {
            let material = match material {
                MaterialKind::Aff3 => "aff3",
                MaterialKind::Nonce => "nonce",
            };
            format!("{kind}({material} {index} of {batch})")
        }
        SiteOp::ResultLoad { ty } => format!("{kind}({})", type_name(*ty)),
        SiteOp::GateGrant { result, .. } => format!("{kind}({}, scope)", name(*result)),
        SiteOp::PublishPubkey { result, grants, .. }
        | SiteOp::PublishSig { result, grants, .. } => {
            format!("{kind}({}, scope) after {}", name(*result), name(*grants))
        }
        other => {
            let uses: Vec<String> = other.uses().into_iter().map(name).collect();
            format!("{kind}({})", uses.join(", "))
        }
    }
}

fn factor(coeff: Coeff) -> String {
    match coeff {
        Coeff::One => String::new(),
        Coeff::Message(message) => format!("{}·", message_name(message)),
        Coeff::Of(var) => format!("{}·", name(var)),
        Coeff::InverseOf(var) => format!("1/{}·", name(var)),
        Coeff::XOf(var) => format!("r({})·", name(var)),
    }
}

fn message_name(message: Message) -> &'static str {
    match message {
        Message::Content => "content",
        Message::Digest => "digest",
        Message::Transaction => "transaction",
        Message::Activation => "activation",
    }
}

fn type_text(slot: &Slot, parties: u16) -> String {
    format!("{} {}", label(&slot.label, parties), type_name(slot.ty))
}

fn label(label: &Label, parties: u16) -> String {
    match label {
        Label::Secret => "secret".to_owned(),
        Label::To(places) if places.iter().copied().eq(0..parties) => "to(all)".to_owned(),
        Label::To(places) => {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            format!("to({})", places.join(","))
        }
        Label::Public => "public".to_owned(),
    }
}

fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Shared => "shared",
        Type::Commitment => "commitment",
        Type::Nonce => "nonce",
        Type::Scalar => "scalar",
        Type::Setup => "setup",
        Type::Material => "material",
        Type::KeyHandle => "key_handle",
        Type::SigHandle => "sig_handle",
        Type::Grants => "grants",
        Type::PublicKey => "public_key",
        Type::Signature => "signature",
    }
}

#[cfg(test)]
mod tests;
