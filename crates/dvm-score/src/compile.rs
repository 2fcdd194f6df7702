//! From an act to a plan: the one entry that node, kernel and verifier share.
//!
//! Source: the design's "Every peer computes it and all must agree". Pure: whoever has the act, the
//! participants and the backend gets the same score and plan, byte for byte.
//!
//! Always true: a [`Compiled`] went through the checker, the plan's own rules and duality.

use dvm_core::intent::{Act, Backend, Scope};
use dvm_core::run::{Material, RunKind};
use dvm_core::{B32, NodeId, ReasonCode};

use crate::check::{CheckError, CheckedScore, check};
use crate::duality::{self, Undual};
use crate::lower::{self, NoScore};
use crate::op::{Plan, VM_VERSION};
use crate::plan::{self, PlanError};
use crate::rewrite::{self, RewriteError};

/// Which run of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The act itself, up to a held result, with the material that it spends.
    Act(Option<Material>),
    /// The publication of that result at the intent's scope.
    Publish(Scope),
}

impl Run {
    /// The run that a header announces for an intent of this scope.
    pub fn of(kind: &RunKind, scope: Scope) -> Self {
        match kind {
            RunKind::Act { material, .. } => Self::Act(*material),
            RunKind::Publish { .. } => Self::Publish(scope),
        }
    }
}

/// Why there is no plan for a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not all whom the act names, or not only they.
    #[error("the participants are not those that the act names")]
    Roster,
    /// The act has no score.
    #[error(transparent)]
    Lower(#[from] NoScore),
    /// The act names another backend than the run.
    #[error("the act asks for backend `{}`", asked.name())]
    Backend {
        /// The act's.
        asked: Backend,
    },
    /// The score breaks a rule.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The backend cannot perform the score.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// There is no plan, or it does not hold.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Two peers would wait for different things.
    #[error(transparent)]
    Duality(#[from] Undual),
}

impl CompileError {
    /// The stable code: what the request did wrong, or an invariant of our own.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Roster | Self::Backend { .. } | Self::Lower(_) | Self::Check(_) => {
                ReasonCode::PayloadRejected
            }
            Self::Plan(PlanError::Participants) => ReasonCode::PayloadRejected,
            Self::Rewrite(_) | Self::Plan(_) | Self::Duality(_) => ReasonCode::Internal,
        }
    }
}

/// A checked score with its plan. Made only by [`compile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    score: CheckedScore,
    score_id: B32,
    plan: Plan,
    plan_id: B32,
}

impl Compiled {
    /// The score.
    pub fn score(&self) -> &CheckedScore {
        &self.score
    }

    /// Its id; also in the plan.
    pub fn score_id(&self) -> B32 {
        self.score_id
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its id, which run headers bind.
    pub fn plan_id(&self) -> B32 {
        self.plan_id
    }

    /// The plan alone.
    pub fn into_plan(self) -> Plan {
        self.plan
    }
}

/// Compiles one run of an act.
///
/// `participants` are sorted: the exact signers of a signature or batch, all holders of a new key.
///
/// # Errors
/// [`CompileError`]; [`CompileError::code`] says whose mistake it is.
pub fn compile(
    act: &Act,
    run: Run,
    backend: Backend,
    participants: &[NodeId],
) -> Result<Compiled, CompileError> {
    plan::check_participants(participants)?;
    if act.named_participants().is_some_and(|named| named != participants) {
        return Err(CompileError::Roster);
    }
    if let Act::KeyGenerate { backend: asked, .. } = act
        && *asked != backend
    {
        return Err(CompileError::Backend { asked: *asked });
    }
    let parties = participants.len().try_into().unwrap_or(u16::MAX);
    let score = match run {
        Run::Act(material) => lower::score_for(act, parties, backend.scheme(), material.as_ref())?,
        Run::Publish(scope) => lower::publication_for(act, scope, parties)?,
    };
    let score = check(score)?;
    let table = rewrite::table(backend);
    let nodes = rewrite::rewrite(&score, table)?;
    let frame_bytes_max = plan::frame_bytes_max(participants.len());
    let levels = plan::levels(&nodes, frame_bytes_max)?;
    let score_id = score.id();
    let plan = Plan {
        score_id,
        backend: table.id.to_owned(),
        vm_version: VM_VERSION,
        participants: participants.to_vec(),
        steps: plan::lay_out(&nodes, &levels),
    };
    plan::verify(&plan, frame_bytes_max)?;
    duality::check_plan(&plan)?;
    let plan_id = plan.id();
    Ok(Compiled { score, score_id, plan, plan_id })
}

#[cfg(test)]
mod tests;
