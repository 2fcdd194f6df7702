//! What each phase costs here and in dkls23-core, in turns, in one run:
//! `cargo test --release -p dvm-microcode -- --ignored --nocapture each_phase`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dkls23_core::utilities::multiplication::{MulReceiver, MulSender};
use k256_14::Secp256k1;
use rand_chacha::ChaCha20Rng;

use super::*;

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

/// Times of a phase, ours and the crate's.
struct Phase {
    name: &'static str,
    ours: Vec<Duration>,
    core: Vec<Duration>,
}

impl Phase {
    fn new(name: &'static str) -> Self {
        Self { name, ours: Vec::new(), core: Vec::new() }
    }

    /// The least and the median, in microseconds.
    fn of(times: &mut [Duration]) -> [f64; 2] {
        times.sort();
        [times[0], times[times.len() / 2]].map(|time| time.as_secs_f64() * 1e6)
    }

    fn report(&mut self) -> [f64; 2] {
        let [[ours, our_median], [core, core_median]] =
            [&mut self.ours, &mut self.core].map(|times| Self::of(times));
        println!(
            "{:<16} {ours:>10.1} {core:>10.1} {:>6.2}   {our_median:>10.1} {core_median:>10.1}",
            self.name,
            ours / core
        );
        [ours, core]
    }
}

/// The crate's two halves of a pair.
type CorePair = (MulReceiver<Secp256k1>, MulSender<Secp256k1>);

/// Sets a pair up five times on both sides. Gives the crate's last one, for the runs.
fn set_ups(rng: &mut ChaCha20Rng) -> ([Phase; 2], CorePair) {
    let session = crate::testing::sid(1);
    let (at_a, at_b) = places(&session);
    let [mut offer, mut finish] = ["set-up: offer", "set-up: finish"].map(Phase::new);
    let mut core = None;
    for _ in 0..5 {
        let ((own, _), took) = timed(|| OwnVole::offer(&at_a, rng).unwrap());
        offer.ours.push(took);
        let theirs = OwnVole::offer(&at_b, rng).unwrap().1;
        let (_, took) =
            timed(|| theirs.expose(|theirs| OwnVole::finish(&at_a, own, theirs)).is_ok());
        finish.ours.push(took);
        let (halves, took) = timed(|| {
            (MulReceiver::<Secp256k1>::init_phase1(&SID), MulSender::<Secp256k1>::init_phase1(&SID))
        });
        offer.core.push(took);
        let ((base_sender, proof, nonce), (base_receiver, correlation, r, proofs)) = halves;
        let (pair, took) = timed(|| {
            let seed = &base_receiver.seed;
            (
                MulReceiver::init_phase2(&base_sender, &SID, seed, &proofs, &nonce).unwrap(),
                MulSender::init_phase2(&base_receiver, &SID, correlation, &r, &proof, &nonce)
                    .unwrap(),
            )
        });
        finish.core.push(took);
        core = Some(pair);
    }
    ([offer, finish], core.unwrap())
}

/// 300 multiplications, one by us and one by the crate in turns.
fn runs((receiver, sender): &CorePair, rng: &mut ChaCha20Rng) -> [Phase; 3] {
    let input = input(1);
    let core_input = input.map(|input| {
        let bytes: [u8; 32] = input.to_bytes().into();
        <k256_14::Scalar as k256_14::elliptic_curve::PrimeField>::from_repr(bytes.into()).unwrap()
    });
    let Ends { a, b } = ends();
    let mut phases = ["run: receive", "run: send", "run: complete"].map(Phase::new);
    for _ in 0..300 {
        let [receive, send, complete] = &mut phases;
        let (received, took) = timed(|| a.expose(|pair| OwnVole::receive(pair, &SID, rng)));
        receive.ours.push(took);
        let (_, kept, message) = received.unwrap();
        let (sent, took) = timed(|| {
            let send = |message: &Vec<u8>| {
                b.expose(|pair| OwnVole::send(pair, &SID, &input, message, rng))
            };
            message.expose(send)
        });
        send.ours.push(took);
        let (_, answer) = sent.unwrap();
        let (completed, took) = timed(|| {
            answer.expose(|answer| a.expose(|pair| OwnVole::complete(pair, &SID, kept, answer)))
        });
        complete.ours.push(took);
        assert!(completed.is_ok());
        let ((_, kept, message), took) = timed(|| receiver.run_phase1(&SID).unwrap());
        receive.core.push(took);
        let ((_, answer), took) = timed(|| sender.run(&SID, &core_input, &message).unwrap());
        send.core.push(took);
        let (_, took) = timed(|| receiver.run_phase2(&SID, &kept, &answer).unwrap());
        complete.core.push(took);
    }
    phases
}

#[test]
#[ignore = "a measurement, for a release build on a quiet machine"]
fn each_phase_against_dkls23_core() {
    let mut rng = rng(1);
    let (mut set_ups, core) = set_ups(&mut rng);
    let mut runs = runs(&core, &mut rng);
    println!("least, us              ours       core  ratio     medians: ours, core");
    for phases in [&mut set_ups[..], &mut runs[..]] {
        let each = phases.iter_mut().map(Phase::report);
        let [ours, core] = each.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        println!("{:<16} {ours:>10.1} {core:>10.1} {:>6.2}", "together", ours / core);
    }
}
