use super::*;
use crate::ir::{Coeff, KeyRef, Label, MaterialKind, Message, Term, Var};
use crate::lower::{self, Builder};
use crate::testing::{digest, generate, material, message, presign, transaction};
use dvm_core::intent::{Act, Backend, Scheme, Scope};
use dvm_core::limits::PRESIGN_COUNT_MAX;
use proptest::prelude::*;

fn first_rule(score: Score) -> Option<Rule> {
    check(score).err().map(|e| e.rule)
}

fn builder(workflow: Workflow) -> Builder {
    Builder::new(workflow, 3, 2)
}

fn lin(terms: &[(Coeff, Var)]) -> SiteOp {
    let terms = terms.iter().map(|(coeff, share)| Term { coeff: *coeff, share: *share });
    SiteOp::ShareLin { terms: terms.collect() }
}

fn all() -> Label {
    Label::To(vec![0, 1, 2])
}

fn keygen(threshold: u16) -> Score {
    let act = generate(Backend::FrostEd25519, threshold, Vec::new());
    lower::score_for(&act, 3, Scheme::Schnorr, None).unwrap()
}

fn release(act: &Act, parties: u16) -> Score {
    lower::publication_for(act, Scope::Public, parties).unwrap()
}

/// Every score of this build.
fn lowered(parties: u16) -> Vec<Score> {
    let make = generate(Backend::FrostEd25519, 2, Vec::new());
    let batch = presign(Vec::new(), PRESIGN_COUNT_MAX);
    let mut all = vec![release(&digest(), parties), release(&make, parties)];
    for scheme in [Scheme::Schnorr, Scheme::Ecdsa] {
        for act in [&make, &batch, &digest(), &message(), &transaction()] {
            for material in [None, Some(&material(7))] {
                all.extend(lower::score_for(act, parties, scheme, material));
            }
        }
    }
    // Key, batch and digest have one for each scheme; message and transaction one with and one without material.
    assert_eq!(all.len(), 2 + 2 * 3 + 2 * 2);
    all
}

#[test]
fn every_score_of_this_build_passes_for_2_to_16_parties_and_no_others() {
    for parties in 2..=16 {
        for score in lowered(parties) {
            check(score).unwrap();
        }
    }
    for parties in [0, 1, 17] {
        for score in lowered(3) {
            assert_eq!(first_rule(Score { parties, ..score }), Some(Rule::Parties));
        }
    }
}

#[test]
fn a_threshold_above_the_parties_is_refused() {
    assert_eq!(first_rule(keygen(3)), None);
    assert_eq!(first_rule(keygen(4)), Some(Rule::Parties));
    assert_eq!(first_rule(keygen(1)), Some(Rule::Parties));
}

#[test]
fn a_score_ends_at_its_last_site_and_has_it_once() {
    for score in lowered(3) {
        let mut cut = score.clone();
        cut.sites.pop();
        assert_eq!(first_rule(cut), Some(Rule::Ending));
        let mut doubled = score.clone();
        doubled.sites.push(score.sites.last().unwrap().clone());
        assert_eq!(first_rule(doubled), Some(Rule::Ending));
    }
    let empty = Score { workflow: Workflow::Sign, parties: 2, threshold: 2, sites: Vec::new() };
    assert_eq!(first_rule(empty), Some(Rule::Ending));
}

#[test]
fn a_signing_score_cannot_publish_what_it_makes() {
    let mut b = builder(Workflow::Sign);
    b.score = lower::score_for(&digest(), 3, Scheme::Schnorr, None).unwrap();
    let result = Var { site: 5, out: 0 };
    let grant = SiteOp::GateGrant { result, scope: Scope::Public };
    let gives = vec![crate::ir::Slot { ty: Type::Grants, label: Label::Public }];
    b.score.sites.push(crate::ir::Site { op: grant, gives });
    assert_eq!(check(b.score).unwrap_err(), CheckError { site: 5, rule: Rule::Ending });
}

#[test]
fn a_result_leaves_only_after_the_grants_for_it() {
    let publish = |of_other: bool, grants_site: u16| {
        let mut b = builder(Workflow::PublishSig);
        let other = b.push(SiteOp::ResultLoad { ty: Type::SigHandle }).unwrap();
        let result = b.push(SiteOp::ResultLoad { ty: Type::SigHandle }).unwrap();
        let scope = Scope::Public;
        let granted = if of_other { other } else { result };
        b.push(SiteOp::GateGrant { result: granted, scope }).unwrap();
        let grants = Var { site: grants_site, out: 0 };
        let published = b.push(SiteOp::PublishSig { result, grants, scope })?;
        b.push(SiteOp::Confirm { published })?;
        check(b.score)
    };
    assert!(publish(false, 2).is_ok());
    assert_eq!(publish(true, 2).unwrap_err(), CheckError { site: 3, rule: Rule::Ungranted });
    assert_eq!(publish(false, 0).unwrap_err(), CheckError { site: 3, rule: Rule::OperandType });
}

#[test]
fn grants_below_the_opening_do_not_count() {
    let mut score = release(&digest(), 3);
    score.sites.swap(1, 2);
    let SiteOp::PublishSig { grants, .. } = &mut score.sites[1].op else { unreachable!() };
    grants.site = 2;
    assert_eq!(check(score).unwrap_err(), CheckError { site: 1, rule: Rule::Undefined });
}

#[test]
fn only_a_result_handle_is_published() {
    let mut b = builder(Workflow::PublishSig);
    b.push(SiteOp::ResultLoad { ty: Type::SigHandle }).unwrap();
    let refused = b.push(SiteOp::ResultLoad { ty: Type::Shared }).unwrap_err();
    assert_eq!(refused.rule, Rule::HandleRequired);
    let grants =
        b.push(SiteOp::GateGrant { result: Var { site: 0, out: 0 }, scope: Scope::Public });
    let op = SiteOp::PublishSig {
        result: grants.unwrap(),
        grants: grants.unwrap(),
        scope: Scope::Public,
    };
    assert_eq!(b.push(op).unwrap_err().rule, Rule::HandleRequired);
    let mut b = builder(Workflow::Sign);
    let share = b.push(SiteOp::ShareRand).unwrap();
    let op = SiteOp::PublishSig { result: share, grants: share, scope: Scope::Public };
    assert_eq!(b.push(op).unwrap_err().rule, Rule::Workflow);
}

#[test]
fn a_label_that_is_declared_lower_than_it_is_is_refused() {
    for score in lowered(3) {
        for (at, site) in score.sites.iter().enumerate() {
            for out in 0..site.gives.len() {
                let mut lower = score.clone();
                let slot = &mut lower.sites[at].gives[out];
                slot.label = if slot.label == Label::Public { all() } else { Label::Public };
                let refused = check(lower).unwrap_err();
                assert_eq!(refused, CheckError { site: at as u16, rule: Rule::Declared });
            }
        }
    }
}

#[test]
fn a_coefficient_that_one_party_cannot_see_is_refused() {
    let key_generate = |seen_by: Label| {
        let mut b = builder(Workflow::KeyGenerate);
        let x = b.push(SiteOp::ShareRand).unwrap();
        let key = b.push(SiteOp::ShareEcMul { a: x, to: seen_by })?;
        let k = b.push(SiteOp::ShareRand).unwrap();
        let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
        let message = Message::Activation;
        let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Of(key), message })?;
        let c = Var { site: nonce.site, out: 1 };
        b.push(lin(&[(Coeff::One, k), (Coeff::Of(c), x)]))
    };
    assert!(key_generate(all()).is_ok());
    assert!(key_generate(Label::Public).is_ok());
    let hidden = key_generate(Label::To(vec![0, 2])).unwrap_err();
    assert_eq!(hidden.rule, Rule::HiddenCoefficient);
    for form in [vec![], vec![1, 0], vec![1, 1], vec![3]] {
        assert_eq!(key_generate(Label::To(form)).unwrap_err().rule, Rule::LabelForm);
    }
    assert_eq!(key_generate(Label::Secret).unwrap_err().rule, Rule::LabelForm);
}

/// Opens what `make` gives in the middle of an ECDSA-like signing score.
fn opening_in_sign(make: impl Fn(&mut Builder, Var, Var) -> Var, to: Label) -> Option<Rule> {
    let mut b = builder(Workflow::Sign);
    let x = b.push(SiteOp::ShareLoad).unwrap();
    let k = b.push(SiteOp::ShareRand).unwrap();
    let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
    let a = make(&mut b, x, k);
    b.push(SiteOp::OpenTo { a, to }).unwrap();
    b.push(SiteOp::FinalizeSig { nonce, s: x }).unwrap();
    first_rule(b.score)
}

#[test]
fn in_a_signing_score_only_a_masked_product_without_the_key_is_opened() {
    let open = |make: fn(&mut Builder, Var, Var) -> Var| opening_in_sign(make, Label::Public);
    assert_eq!(open(|b, _, k| mul_with_fresh(b, k)), None);
    let refused = Some(Rule::OpeningUnmasked);
    assert_eq!(open(|_, x, _| x), refused, "the key");
    assert_eq!(open(|_, _, k| k), refused, "the nonce");
    assert_eq!(open(|b, x, _| mul_with_fresh(b, x)), refused, "v = φ·x");
    assert_eq!(open(|b, _, k| b.push(SiteOp::ShareMul { a: k, b: k }).unwrap()), refused, "k²");
    assert_eq!(
        open(|b, x, k| b.push(lin(&[(Coeff::One, k), (Coeff::One, x)])).unwrap()),
        refused,
        "a Schnorr signature outside the gate"
    );
    let kernels_only =
        opening_in_sign(|b, x, k| b.push(lin(&[(Coeff::One, k), (Coeff::One, x)])).unwrap(), all());
    assert_eq!(kernels_only, refused, "not even to the kernels");
    assert_eq!(
        open(|b, _, k| {
            let ki = b.push(SiteOp::ShareInv { a: k }).unwrap();
            b.push(SiteOp::ShareMul { a: ki, b: k }).unwrap()
        }),
        refused,
        "a product without a fresh mask"
    );
}

fn mul_with_fresh(b: &mut Builder, share: Var) -> Var {
    let mask = b.push(SiteOp::ShareRand).unwrap();
    b.push(SiteOp::ShareMul { a: mask, b: share }).unwrap()
}

#[test]
fn one_mask_does_not_hide_two_products() {
    let presign = |same_mask: bool| {
        let mut b = builder(Workflow::Presign);
        let k = b.push(SiteOp::ShareRand).unwrap();
        let l = b.push(SiteOp::ShareRand).unwrap();
        let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
        b.push(SiteOp::ShareEcMul { a: l, to: Label::Public }).unwrap();
        let (one, two) = (b.push(SiteOp::ShareRand).unwrap(), b.push(SiteOp::ShareRand).unwrap());
        let second = if same_mask { one } else { two };
        for (mask, nonce) in [(one, k), (second, l)] {
            let a = b.push(SiteOp::ShareMul { a: mask, b: nonce }).unwrap();
            b.push(SiteOp::OpenTo { a, to: Label::Public }).unwrap();
        }
        b.push(SiteOp::Stash { values: vec![commitment, k] }).unwrap();
        first_rule(b.score)
    };
    assert_eq!(presign(false), None);
    assert_eq!(presign(true), Some(Rule::OpeningUnmasked));
}

#[test]
fn a_probe_goes_to_the_holders_under_a_nonce_of_its_own() {
    let good = keygen(2);
    let mut published = good.clone();
    published.sites[6].op = SiteOp::OpenTo { a: Var { site: 5, out: 0 }, to: Label::Public };
    published.sites[6].gives[0].label = Label::Public;
    assert_eq!(first_rule(published), Some(Rule::OpeningUnmasked));

    let (x, k, c) = (Var { site: 0, out: 0 }, Var { site: 2, out: 0 }, Var { site: 4, out: 1 });
    for terms in [
        vec![(Coeff::Of(c), x)],
        vec![(Coeff::Of(c), k), (Coeff::Of(c), x)],
        vec![(Coeff::One, k), (Coeff::Of(c), k)],
    ] {
        let mut score = good.clone();
        score.sites[5].op = lin(&terms);
        assert_eq!(first_rule(score), Some(Rule::OpeningUnmasked), "{terms:?}");
    }
    let mut twice = good;
    let last = twice.sites.pop().unwrap();
    let mut b = Builder { score: twice };
    let z = b.push(lin(&[(Coeff::One, k), (Coeff::One, x)])).unwrap();
    b.push(SiteOp::OpenTo { a: z, to: all() }).unwrap();
    b.push(last.op).unwrap();
    assert_eq!(first_rule(b.score), Some(Rule::OpeningUnmasked));
}

#[test]
fn a_commitment_is_to_a_sampled_or_loaded_share() {
    let mut b = builder(Workflow::Sign);
    let k = b.push(SiteOp::ShareRand).unwrap();
    let sum = b.push(lin(&[(Coeff::One, k)])).unwrap();
    let nonce = b.push(SiteOp::ShareEcMul { a: sum, to: Label::Public }).unwrap();
    b.push(SiteOp::FinalizeSig { nonce, s: k }).unwrap();
    assert_eq!(first_rule(b.score), Some(Rule::EcMulOfDerived));
}

/// The online phase of an AFF3 presignature: s = (m·φ + r·v) / u.
fn online(indices: &[u32]) -> Score {
    let mut b = builder(Workflow::Sign);
    let mut last = None;
    for index in indices {
        let kind = MaterialKind::Aff3;
        let take = b.push(SiteOp::Take { batch: B32([1; 32]), index: *index, kind }).unwrap();
        let part = |out| Var { site: take.site, out };
        let message = Coeff::Message(Message::Digest);
        let top = b.push(lin(&[(message, part(1)), (Coeff::XOf(take), part(3))])).unwrap();
        let u = b.push(SiteOp::OpenTo { a: part(2), to: all() }).unwrap();
        let s = b.push(lin(&[(Coeff::InverseOf(u), top)])).unwrap();
        last = Some((take, s));
    }
    let (nonce, s) = last.unwrap();
    b.push(SiteOp::FinalizeSig { nonce, s }).unwrap();
    b.score
}

#[test]
fn stashed_material_is_taken_once() {
    assert_eq!(first_rule(online(&[7])), None);
    assert_eq!(first_rule(online(&[7, 8])), None);
    assert_eq!(first_rule(online(&[7, 7])), Some(Rule::TakenTwice));
    let mut v_opened = online(&[7]);
    v_opened.sites[2].op = SiteOp::OpenTo { a: Var { site: 0, out: 3 }, to: all() };
    assert_eq!(first_rule(v_opened), Some(Rule::OpeningUnmasked));
}

#[test]
fn a_stash_holds_a_whole_batch_and_no_more() {
    let stash = |values: usize| {
        let mut b = builder(Workflow::Presign);
        let k = b.push(SiteOp::ShareRand).unwrap();
        b.push(SiteOp::Stash { values: vec![k; values] }).map_err(|e| e.rule)
    };
    assert!(stash(1).is_ok() && stash(4 * usize::from(PRESIGN_COUNT_MAX)).is_ok());
    for values in [0, 4 * usize::from(PRESIGN_COUNT_MAX) + 1] {
        assert_eq!(stash(values).unwrap_err(), Rule::Size);
    }
}

#[test]
fn a_score_has_256_sites_at_most() {
    let sized = |sites: usize| {
        let mut b = builder(Workflow::Presign);
        let k = b.push(SiteOp::ShareRand).unwrap();
        for _ in 0..sites - 2 {
            b.push(SiteOp::ShareRand).unwrap();
        }
        b.push(SiteOp::Stash { values: vec![k] }).unwrap();
        assert_eq!(b.score.sites.len(), sites);
        first_rule(b.score)
    };
    assert_eq!(sized(SITES_MAX), None);
    assert_eq!(sized(SITES_MAX + 1), Some(Rule::Size));
}

#[test]
fn a_workflow_has_no_site_of_another() {
    for workflow in Workflow::ALL {
        let mut b = builder(workflow);
        let load = b.push(SiteOp::ShareLoad).map(|_| ()).and_then(|()| check(b.score).map(|_| ()));
        let wanted = match workflow {
            Workflow::KeyGenerate | Workflow::PublishKey | Workflow::PublishSig => Rule::Workflow,
            _ => Rule::Ending,
        };
        assert_eq!(load.unwrap_err().rule, wanted, "{workflow:?}");
    }
}

/// A random signing or presigning score that keeps the rules.
fn arbitrary_score() -> impl Strategy<Value = Score> {
    (
        any::<bool>(),
        2..=16_u16,
        proptest::collection::vec((0..7_u8, any::<u16>(), any::<u16>()), 1..40),
    )
        .prop_map(|(sign, parties, choices)| {
            let workflow = if sign { Workflow::Sign } else { Workflow::Presign };
            let mut b = Builder::new(workflow, parties, 2);
            let mut shares = vec![b.push(SiteOp::ShareLoad).unwrap()];
            let k = b.push(SiteOp::ShareRand).unwrap();
            let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap();
            shares.push(k);
            for (kind, i, j) in choices {
                let pick = |n: u16| shares[usize::from(n) % shares.len()];
                let op = match kind {
                    0 => SiteOp::ShareRand,
                    1 => SiteOp::ShareZero,
                    2 => lin(&[(Coeff::One, pick(i)), (Coeff::XOf(nonce), pick(j))]),
                    3 => SiteOp::ShareMul { a: pick(i), b: pick(j) },
                    4 => SiteOp::ShareInv { a: pick(i) },
                    5 => {
                        let mask = b.push(SiteOp::ShareRand).unwrap();
                        let a = b.push(SiteOp::ShareMul { a: mask, b: k }).unwrap();
                        b.push(SiteOp::OpenTo { a, to: Label::Public }).unwrap();
                        continue;
                    }
                    _ => lin(&[(Coeff::Message(Message::Digest), pick(i))]),
                };
                shares.push(b.push(op).unwrap());
            }
            let s = *shares.last().unwrap();
            b.push(if sign {
                SiteOp::FinalizeSig { nonce, s }
            } else {
                SiteOp::Stash { values: vec![nonce, s] }
            })
            .unwrap();
            b.score
        })
}

proptest! {
    #[test]
    fn a_random_score_that_keeps_the_rules_passes_and_round_trips(score in arbitrary_score()) {
        let bytes = dvm_core::codec::encode(&score);
        prop_assert_eq!(&dvm_core::codec::decode::<Score>(&bytes).unwrap(), &score);
        let id = score.id();
        prop_assert_eq!(check(score).unwrap().id(), id);
    }

    #[test]
    fn a_random_score_with_one_site_broken_is_refused(
        score in arbitrary_score(), at: u16, how in 0..6_u8,
    ) {
        let mut broken = score;
        let at = usize::from(at) % broken.sites.len();
        let ahead = Var { site: at as u16, out: 0 };
        match how {
            // Reads itself.
            0 => broken.sites[at].op = SiteOp::ShareInv { a: ahead },
            // Claims one result more.
            1 => {
                let extra = crate::ir::Slot { ty: Type::Shared, label: Label::Secret };
                broken.sites[at].gives.push(extra);
            }
            // Claims to be public, or, if it is, to be secret.
            2 => {
                let slot = &mut broken.sites[at].gives[0];
                slot.label =
                    if slot.label == Label::Public { Label::Secret } else { Label::Public };
            }
            // Opens the key.
            3 => {
                broken.sites[at].op = SiteOp::OpenTo { a: Var { site: 0, out: 0 }, to: all() };
                broken.sites[at].gives =
                    vec![crate::ir::Slot { ty: Type::Scalar, label: all() }];
            }
            // Publishes.
            4 => broken.sites[at].op = SiteOp::GateGrant { result: ahead, scope: Scope::Public },
            // Ends elsewhere.
            _ => {
                let last = broken.sites.len() - 1;
                broken.sites.swap(at.min(last - 1), last);
            }
        }
        prop_assert!(check(broken).is_err());
    }
}
