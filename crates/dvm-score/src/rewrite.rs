//! L1 to L0: a backend's table of rules turns sites into micro-ops.
//!
//! Source: the design's "L0 microcode" and the choreography of each backend. A rule matches a group
//! of sites as one pattern and emits micro-ops; what they need follows from the score's own data
//! flow, and from the order within the rule.
//!
//! Always true: every site is claimed by exactly one rule, or the score is refused; every micro-op
//! names the site that it belongs to; which rule applies depends on nothing but score and table.
//!
//! Not here: when a micro-op happens ([`crate::plan`]); what it computes (the microcode).

pub mod dkls23;
pub mod frost;
pub mod publication;

use std::collections::BTreeMap;

use dvm_core::intent::Backend;

use crate::check::CheckedScore;
use crate::ir::{Kind, Score, SiteOp, Var, Workflow};
use crate::op::{Effect, MicroOp, PhaseKind, PhaseSpec};

/// Bytes of one payload at most, from the size of the run.
#[derive(Clone, Copy, Debug)]
pub struct Len {
    /// Always.
    pub base: u32,
    /// And so many for each share that the key needs.
    pub per_threshold: u32,
    /// And so many for each party.
    pub per_party: u32,
}

impl Len {
    /// Says nothing.
    pub const NONE: Self = Self::fixed(0);

    /// The same for every run.
    pub const fn fixed(base: u32) -> Self {
        Self { base, per_threshold: 0, per_party: 0 }
    }

    fn of(self, score: &Score) -> u32 {
        let threshold = self.per_threshold.saturating_mul(score.threshold.into());
        let party = self.per_party.saturating_mul(score.parties.into());
        self.base.saturating_add(threshold).saturating_add(party)
    }
}

/// What a micro-op must come after.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Whatever gives the operands of its own site.
    Operands,
    /// Whatever gives the operands of any site of the match.
    AllOperands,
    /// Another micro-op of the same match.
    Same(MicroOp),
    /// Every micro-op of this kind that other matches emitted: a dependence that the score does not
    /// show, such as a nonce that is hedged with the key share.
    Other(MicroOp),
}

/// Something of which a node has one: its steps get a level each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusive {
    /// The gate of the kernel: a grant is durable before the opening that it allows.
    Gate,
    /// Pair set-up, which costs as much as everything else of a level: a kernel does one at a time.
    Provision,
}

/// A micro-op that a rule emits.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Which.
    pub op: MicroOp,
    /// Place in the pattern of the site that it belongs to.
    pub at: usize,
    /// How it speaks.
    pub phase: PhaseKind,
    /// How much.
    pub len: Len,
    /// What it does to secrets.
    pub effect: Effect,
    /// What it holds while it runs.
    pub exclusive: Option<Exclusive>,
    /// What it must come after.
    pub needs: &'static [Need],
}

/// Where a result of a matched site comes from.
#[derive(Clone, Copy, Debug)]
pub struct Yield {
    /// Place of the site in the pattern.
    pub at: usize,
    /// Which of its results.
    pub out: u8,
    /// The micro-op of the match that gives it; none if the kernel has it before the run.
    pub from: Option<MicroOp>,
}

/// A pattern of sites, each (after the first) reading a result of one before, or read together with one by
/// the site after it; what it becomes.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// For people.
    pub name: &'static str,
    /// Kinds of the sites, in score order; not necessarily next to each other.
    pub pattern: &'static [Kind],
    /// The micro-ops, in order.
    pub emits: &'static [Template],
    /// Where the results of the sites come from.
    pub yields: &'static [Yield],
}

/// A backend: its name with version, and its rules by workflow.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// As plans name it, such as `frost-ed25519/1`.
    pub id: &'static str,
    /// The rules, first match first.
    pub rules: &'static [(Workflow, &'static [Rule])],
}

impl Table {
    /// The rules of a workflow; none if the backend does not have it.
    pub fn rules_for(&self, workflow: Workflow) -> &'static [Rule] {
        let found = self.rules.iter().find(|(w, _)| *w == workflow);
        found.map_or(&[], |(_, rules)| rules)
    }
}

/// The table of a backend of this build.
pub fn table(backend: Backend) -> &'static Table {
    match backend {
        Backend::FrostEd25519 => &frost::ED25519,
        Backend::FrostSecp256k1Tr => &frost::SECP256K1_TR,
        Backend::Dkls23Secp256k1 => &dkls23::SECP256K1,
    }
}

/// A micro-op of a particular score, before it has a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The site that it belongs to.
    pub site: u16,
    /// Place among the micro-ops of its rule.
    pub position: u16,
    /// What it does.
    pub op: MicroOp,
    /// How it speaks.
    pub phase: PhaseSpec,
    /// What it does to secrets.
    pub effect: Effect,
    /// What it holds.
    pub exclusive: Option<Exclusive>,
    /// Nodes that it must come after, ascending.
    pub needs: Vec<usize>,
}

/// Why a score cannot be performed by a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The backend has no rule for a site.
    #[error("the backend has no rule for site {site}")]
    NoRule {
        /// The first such site.
        site: u16,
    },
    /// The backend's table contradicts itself: a rule names a result, site or micro-op that it or
    /// the tables around it do not have.
    #[error("the backend's table does not say where an input of `{}` at site {site} comes from", op.name())]
    Table {
        /// The site.
        site: u16,
        /// The micro-op.
        op: MicroOp,
    },
}

struct Match {
    rule: &'static Rule,
    sites: Vec<u16>,
    first_node: usize,
}

impl Match {
    fn node_of(&self, op: MicroOp) -> Option<usize> {
        self.rule.emits.iter().position(|t| t.op == op).map(|i| self.first_node + i)
    }
}

/// Rewrites a score by a backend's table.
///
/// # Errors
/// [`RewriteError`] for a site without a rule, or a table with a hole.
pub fn rewrite(score: &CheckedScore, table: &Table) -> Result<Vec<Node>, RewriteError> {
    let score = score.score();
    let matches = match_all(score, table.rules_for(score.workflow))?;
    let mut sources: BTreeMap<Var, Option<usize>> = BTreeMap::new();
    for found in &matches {
        for y in found.rule.yields {
            let Some(&site) = found.sites.get(y.at) else { continue };
            let from = y.from.and_then(|op| found.node_of(op));
            // A result whose micro-op the rule does not emit stays unknown, and is refused below.
            if from.is_some() == y.from.is_some() {
                sources.insert(Var { site, out: y.out }, from);
            }
        }
    }
    let mut nodes = Vec::new();
    for found in &matches {
        for (position, template) in (0..).zip(found.rule.emits) {
            let site = found.sites.get(template.at).copied();
            let hole = RewriteError::Table { site: site.unwrap_or(u16::MAX), op: template.op };
            let site = site.ok_or(hole)?;
            let mut needs = Vec::new();
            for need in template.needs {
                let found = resolve(score, &sources, (&matches, found), (site, *need));
                needs.extend(found.ok_or(hole)?);
            }
            needs.sort_unstable();
            needs.dedup();
            let Template { op, phase: kind, effect, exclusive, .. } = *template;
            let phase = PhaseSpec { kind, len_max: template.len.of(score) };
            nodes.push(Node { site, position, op, phase, effect, exclusive, needs });
        }
    }
    Ok(nodes)
}

/// The nodes behind one need; `None` if the table does not say.
fn resolve(
    score: &Score,
    sources: &BTreeMap<Var, Option<usize>>,
    (matches, own): (&[Match], &Match),
    (site, need): (u16, Need),
) -> Option<Vec<usize>> {
    match need {
        Need::Same(op) => own.node_of(op).map(|node| vec![node]),
        Need::Other(op) => {
            let others = matches.iter().filter(|m| m.first_node != own.first_node);
            let nodes: Vec<usize> = others.filter_map(|m| m.node_of(op)).collect();
            (!nodes.is_empty()).then_some(nodes)
        }
        Need::Operands => sources_of(score, sources, own, &[site]),
        Need::AllOperands => sources_of(score, sources, own, &own.sites),
    }
}

/// The nodes that give what these sites read from outside the match.
fn sources_of(
    score: &Score,
    sources: &BTreeMap<Var, Option<usize>>,
    own: &Match,
    sites: &[u16],
) -> Option<Vec<usize>> {
    let mut nodes = Vec::new();
    for site in sites {
        let operands = score.site(*site)?.op.uses();
        for var in operands.iter().filter(|var| !own.sites.contains(&var.site)) {
            nodes.extend(sources.get(var).copied()?);
        }
    }
    Some(nodes)
}

/// Claims every site for a rule: the first unclaimed site takes the first rule that fits.
fn match_all(score: &Score, rules: &'static [Rule]) -> Result<Vec<Match>, RewriteError> {
    let mut claimed = vec![false; score.sites.len()];
    let mut matches: Vec<Match> = Vec::new();
    let mut first_node = 0;
    for at in (0..).take(score.sites.len()) {
        if claimed.get(usize::from(at)).copied().unwrap_or(true) {
            continue;
        }
        let fits = |rule| match_at(score, &claimed, rule, at).map(|sites| (rule, sites));
        let (rule, sites) = rules.iter().find_map(fits).ok_or(RewriteError::NoRule { site: at })?;
        for site in &sites {
            if let Some(claim) = claimed.get_mut(usize::from(*site)) {
                *claim = true;
            }
        }
        matches.push(Match { rule, sites, first_node });
        first_node += rule.emits.len();
    }
    Ok(matches)
}

fn match_at(score: &Score, claimed: &[bool], rule: &Rule, at: u16) -> Option<Vec<u16>> {
    let (first, rest) = rule.pattern.split_first()?;
    if score.site(at)?.op.kind() != *first {
        return None;
    }
    let mut sites = vec![at];
    for (place, kind) in rest.iter().enumerate() {
        let after = sites.last().copied()?;
        let next = of_kind(score, claimed, (*kind, after)).find(|(i, op)| {
            let then = rest.get(place + 1).map(|kind| (*kind, *i));
            // What is sampled reads nothing: it is of the match if what comes next takes it and something matched.
            reads_any(op, &sites)
                || op.uses().is_empty()
                    && then.is_some_and(|then| {
                        of_kind(score, claimed, then)
                            .any(|(_, op)| reads_any(op, &[*i]) && reads_any(op, &sites))
                    })
        });
        sites.push(next?.0);
    }
    Some(sites)
}

/// The unclaimed sites of a kind after a place.
fn of_kind<'a>(
    score: &'a Score,
    claimed: &'a [bool],
    (kind, after): (Kind, u16),
) -> impl Iterator<Item = (u16, &'a SiteOp)> {
    let open = (0..).zip(score.sites.iter().zip(claimed)).filter(|(_, (_, claimed))| !**claimed);
    let ops = open.map(|(at, (site, _))| (at, &site.op));
    ops.filter(move |(at, op)| *at > after && op.kind() == kind)
}

fn reads_any(op: &SiteOp, sites: &[u16]) -> bool {
    op.uses().iter().any(|var| sites.contains(&var.site))
}

#[cfg(test)]
mod tests;
