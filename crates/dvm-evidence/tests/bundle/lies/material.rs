//! Material that was made before: what a signature says it was made with.

use dvm_core::intent::Backend;
use dvm_core::run::Material;
use dvm_core::trace::{Outcome, TraceEvent};
use dvm_core::{B32, Bytes};
use dvm_score::MicroOp;

use super::{World, assert_refused};
use crate::material::{prepared, spent};
use crate::rig::Rig;

/// A published signature of `n1` and `n2` with prepared material.
fn world(backend: Backend) -> World {
    let mut rig = Rig::active(backend);
    let material = prepared(&mut rig);
    spent(&mut rig, material);
    World::of(rig)
}

/// Changes what `n1`'s kernel showed of the material that it took.
fn taken_otherwise(world: &World, change: impl Fn(&mut Bytes)) -> dvm_evidence::Refused {
    let takes = |op| matches!(op, MicroOp::TakeNonce | MicroOp::TakeTriple);
    let step = world.contexts[0].plan().steps.iter().find(|s| takes(s.op)).unwrap().index;
    world.lie(|input| {
        let run = &mut input.parts[0].runs[0];
        world.retell(run, 0, |events| {
            for event in events {
                if let TraceEvent::Result(result) = event
                    && result.step == step
                    && let Outcome::Ok { public: Some(public), .. } = &mut result.outcome
                {
                    change(public);
                }
            }
        });
    })
}

#[test]
fn signers_that_took_different_material_are_refused() {
    let world = world(Backend::FrostEd25519);
    for at in [0, 40, 127] {
        let refused = taken_otherwise(&world, |public| public.0[at] ^= 1);
        assert_refused(&refused, "peers/n1/runs/0", "the signers took out different material");
    }
}

#[test]
fn grant_of_a_result_with_other_material_than_the_runs_is_refused() {
    let world = world(Backend::FrostEd25519);
    let granted = world.input.parts[0].runs[1].publications[0].body.clone();
    for material in [None, Some(Material { batch: B32([1; 32]), index: 1 })] {
        let mut other = granted.clone();
        other.facts.material = material;
        let signed = world.by_kernel("n1", other);
        let refused = world.lie(|input| input.parts[0].runs[1].publications[0] = signed);
        let what = "the facts are not those of the result that was held";
        assert_refused(&refused, "peers/n1/runs/1/publications/0", what);
    }
}
