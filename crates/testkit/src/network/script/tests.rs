//! Scripts in virtual time.

use std::sync::Mutex;

use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Writes down what happens when.
struct Recorder {
    begin: Instant,
    seen: Mutex<Vec<(Duration, Step)>>,
}

impl Scripted for Recorder {
    fn apply(&self, step: Step) -> io::Result<()> {
        self.seen.lock().expect("no panic").push((self.begin.elapsed(), step));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn steps_happen_in_their_order_at_their_time() {
    let script =
        Script::train_tunnel(ms(2000), ms(7000)).then(ms(500), &Script::rebinding(ms(1000), 2));
    let times: Vec<_> = script.steps().iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 1500, 2000, 2500, 2500, 9500, 9500, 10_000]);
    let recorder = Recorder { begin: Instant::now(), seen: Mutex::default() };
    script.run(&[&recorder]).await.expect("played");
    let seen = recorder.seen.into_inner().expect("no panic");
    assert_eq!(seen.len(), script.steps().len());
    for ((at, step), (planned, expected)) in seen.iter().zip(script.steps()) {
        assert_eq!(step, expected);
        // Tokio's timers count in milliseconds.
        assert!(*at >= *planned && *at <= *planned + ms(2), "{at:?} instead of {planned:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_and_its_relays_take_the_steps_that_concern_them() {
    let server = "127.0.0.1:9".parse().expect("an address");
    let path = Path::new(1);
    let udp = UdpRelay::start_on(path.clone(), server).expect("a relay");
    let tcp = TcpRelay::start_on(path.clone(), server).expect("a relay");
    let script = Script::default()
        .at(ms(0), typical::lte())
        .at(ms(1), Step::Down(typical::edge().down))
        .at(ms(2), Step::Readdress([127, 0, 0, 5].into()))
        .at(ms(3), Step::Rebind)
        .at(ms(4), Step::Block(Some(Blocking::Refused)))
        .at(ms(5), Step::Block(None))
        .at(ms(6), Step::Cut(true));
    script.run(&[&udp, &tcp, &path]).await.expect("played");
    let cut = |conditions| Conditions { cut: true, ..conditions };
    assert_eq!(path.conditions(), (cut(typical::lte().up), cut(typical::edge().down)));
}

#[test]
fn the_same_seed_wanders_the_same_way() {
    let wander = |seed| Script::wandering(seed, ms(1000), 40);
    assert_eq!(wander(5), wander(5));
    assert_ne!(wander(5), wander(6));
    let steps = wander(5);
    for is_kind in [
        |step: &Step| matches!(step, Step::Set { .. }),
        |step: &Step| matches!(step, Step::Cut(_)),
        |step: &Step| matches!(step, Step::Rebind),
    ] {
        assert!(steps.steps().iter().any(|(_, step)| is_kind(step)));
    }
}
