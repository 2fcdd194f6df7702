//! What each phase costs here and in dkls23-core, in turns, in one run:
//! `cargo test --release -p dvm-microcode -- --ignored --nocapture each_phase`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dkls23_core::utilities::multiplication::{MulReceiver, MulSender};
use k256_14::Secp256k1;

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

#[test]
#[ignore = "a measurement, for a release build on a quiet machine"]
fn each_phase_against_dkls23_core() {
    let sid = SID;
    let input = input(1);
    let core_input = input.map(|input| {
        let bytes: [u8; 32] = input.to_bytes().into();
        <k256_14::Scalar as k256_14::elliptic_curve::PrimeField>::from_repr(bytes.into()).unwrap()
    });
    let session = crate::testing::sid(1);
    let (at_a, at_b) = places(&session);
    let mut rng = rng(1);
    let [mut offer, mut finish] = [Phase::new("set-up: offer"), Phase::new("set-up: finish")];
    let mut core = None;
    for _ in 0..5 {
        let ((own, _), took) = timed(|| OwnVole::offer(&at_a, &mut rng).unwrap());
        offer.ours.push(took);
        let theirs = OwnVole::offer(&at_b, &mut rng).unwrap().1;
        let (_, took) =
            timed(|| theirs.expose(|theirs| OwnVole::finish(&at_a, own, theirs)).is_ok());
        finish.ours.push(took);
        let (halves, took) = timed(|| {
            (MulReceiver::<Secp256k1>::init_phase1(&sid), MulSender::<Secp256k1>::init_phase1(&sid))
        });
        offer.core.push(took);
        let ((base_sender, proof, nonce), (base_receiver, correlation, r, proofs)) = halves;
        let (pair, took) = timed(|| {
            let seed = &base_receiver.seed;
            (
                MulReceiver::init_phase2(&base_sender, &sid, seed, &proofs, &nonce).unwrap(),
                MulSender::init_phase2(&base_receiver, &sid, correlation, &r, &proof, &nonce)
                    .unwrap(),
            )
        });
        finish.core.push(took);
        core = Some(pair);
    }
    let (receiver, sender) = core.unwrap();
    let Ends { a, b } = ends();
    let mut phases = ["run: receive", "run: send", "run: complete"].map(Phase::new);
    for _ in 0..300 {
        let [receive, send, complete] = &mut phases;
        let (received, took) = timed(|| a.expose(|pair| OwnVole::receive(pair, &sid, &mut rng)));
        receive.ours.push(took);
        let (_, kept, message) = received.unwrap();
        let (sent, took) = timed(|| {
            let send = |message: &Vec<u8>| {
                b.expose(|pair| OwnVole::send(pair, &sid, &input, message, &mut rng))
            };
            message.expose(send)
        });
        send.ours.push(took);
        let (_, answer) = sent.unwrap();
        let (completed, took) = timed(|| {
            answer.expose(|answer| a.expose(|pair| OwnVole::complete(pair, &sid, kept, answer)))
        });
        complete.ours.push(took);
        assert!(completed.is_ok());
        let ((_, kept, message), took) = timed(|| receiver.run_phase1(&sid).unwrap());
        receive.core.push(took);
        let ((_, answer), took) = timed(|| sender.run(&sid, &core_input, &message).unwrap());
        send.core.push(took);
        let (_, took) = timed(|| receiver.run_phase2(&sid, &kept, &answer).unwrap());
        complete.core.push(took);
    }
    println!("least, us              ours       core  ratio     medians: ours, core");
    let report = |phases: &mut [Phase]| {
        phases.iter_mut().map(Phase::report).fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d])
    };
    for phases in [&mut [offer, finish][..], &mut phases[..]] {
        let [ours, core] = report(phases);
        println!("{:<16} {ours:>10.1} {core:>10.1} {:>6.2}", "together", ours / core);
    }
}
