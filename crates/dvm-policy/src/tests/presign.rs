//! Claims about batches of one-time material: who may have them made, and that they take no signature's place.

use super::*;

fn batch() -> Act {
    let signers = ["n1", "n2"].map(id).to_vec();
    Act::PresignBatch { key_id: id("k"), key_epoch: 1, path: Vec::new(), signers, count: 32 }
}

fn by(role: Role, classes: &[ActClass]) -> Case {
    let mut case = Case::with(PolicySet::shipped().unwrap(), classes, batch());
    case.roles = [role].into();
    case
}

#[test]
fn batch_is_admitted_for_an_operator_without_approvals_if_the_floor_names_it() {
    let with = [ActClass::SignMessage, ActClass::PresignBatch];
    let admitted = by(Role::Operator, &with).admit();
    assert_eq!(verdict(&admitted), (Verdict::Allow, &[][..]), "{admitted:?}");
    assert_eq!(admitted.rules, ["27-presign-batch/material-for-an-active-key"]);
    assert!(admitted.approvals.is_empty() && admitted.policy_receipt.limits.is_empty());
    let denied = (Verdict::Deny, &[ReasonCode::PolicyDenied][..]);
    assert_eq!(verdict(&by(Role::Operator, &with[..1]).admit()), denied);
    for role in [Role::Client, Role::Approver, Role::Auditor] {
        assert_eq!(verdict(&by(role, &with).admit()), denied, "{role:?}");
    }
}

#[test]
fn batch_neither_takes_a_place_of_the_hourly_executions_nor_needs_one() {
    let with = [ActClass::SignMessage, ActClass::PresignBatch];
    let mut case = by(Role::Operator, &with);
    for n in [b"one", b"two"] {
        case.ledger.reserve(&id("k"), Link::of_raw(n), 2, NOW).unwrap();
    }
    assert_eq!(verdict(&case.admit()), (Verdict::Allow, &[][..]));
    let mut signature = Case::with(PolicySet::shipped().unwrap(), &with, message());
    signature.ledger = case.ledger;
    let refused = (Verdict::Deny, &[ReasonCode::ResourceLimit][..]);
    assert_eq!(verdict(&signature.approve("a1", &Purpose::Admit).admit()), refused);
}

#[test]
fn policies_can_tell_batches_apart_by_their_size_signers_and_path() {
    let text = |condition: &str| {
        format!(
            "@id(\"t\") forbid (principal, action == Dvm::Action::\"presign.batch\", resource)
             unless {{ {condition} }};"
        )
    };
    for (condition, holds) in [
        ("context.count <= 32 && context.signers == 2 && context.path == \"m\"", true),
        ("context.count <= 31", false),
        ("context.signers == 3", false),
        ("context.path == \"m/0\"", false),
    ] {
        let policies = PolicySet::load(files(&[("90-test", &text(condition))])).unwrap();
        let mut case = Case::with(policies, &[ActClass::PresignBatch], batch());
        case.roles = [Role::Operator].into();
        assert_eq!(case.admit().verdict == Verdict::Allow, holds, "{condition}");
    }
}
