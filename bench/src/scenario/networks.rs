//! `networks`: chat and an upload, by one client of the SDK, while its network does what networks
//! do. Each course is played to a new server; the undisturbed one comes first, and the others are
//! held against it.
//!
//! A [`course`] says what happens, a [`scene`] is who takes part, [`chat`] and [`upload`] are what
//! they do, and [`tally`] makes figures of what they noted. Beside them, each alone on the same
//! network, are what people use today: [`tus`] for the upload and [`ejabberd`] for the chat.

pub(crate) mod chat;
mod course;
mod ejabberd;
mod peer;
pub(crate) mod scene;
mod tally;
mod tus;
pub(crate) mod upload;

use tokio::time::{Instant, sleep_until};

use self::{
    chat::Heard,
    course::Course,
    scene::{Scene, Way},
    tally::Run,
    upload::{File, Sent},
};
use crate::{arguments::Networks, failure::Failure, report::Report};

/// Messages that are due in a second.
pub(crate) const RATE_PER_SECOND: u32 = 20;

/// Measures every course that was asked for, after the undisturbed one.
///
/// # Errors
/// If a message or the file did not arrive once, after all courses are through; or at once if the
/// server cannot be used.
pub(crate) async fn run(load: &Networks, report: &mut Report) -> Result<(), Failure> {
    let file = File::make(load.file_bytes())?;
    let with_tus = !load.alone && tus::is_there();
    if !load.alone && !with_tus {
        eprintln!("skein-bench: no tus beside it: `make peers` installs it");
    }
    let with_ejabberd = !load.alone && ejabberd::is_there();
    if !load.alone && !with_ejabberd {
        eprintln!("skein-bench: no ejabberd beside it: `make peers` installs it");
    }
    let mut bases = Vec::new();
    let mut failures = Vec::new();
    for course in Course::all(load.quick) {
        if !course.is_undisturbed() && !load.wants(course.name) {
            continue;
        }
        let mut plot = course.plot(file.bytes);
        let mut runs = Vec::new();
        for way in [Way::Quic, Way::Tcp] {
            let ran = play(&course, way, &file).await?;
            failures.extend(ran.failure(course.name, way.all_arrives()));
            runs.push(ran);
        }
        if with_tus {
            // That a peer did not get its file across, or lost a message, is a result.
            runs.push(tus::play(&course, &file).await?);
        }
        if with_ejabberd {
            runs.push(ejabberd::play(&course).await?);
        }
        for run in &runs {
            if course.is_undisturbed() {
                bases.push((run.system, run.upload_seconds()));
            }
            let base = bases.iter().find(|(system, _)| *system == run.system);
            let base = base.and_then(|(_, seconds)| *seconds);
            report.tell(&tally::finding(&course, run, file.bytes, base));
            plot.systems.push(run.drawn());
        }
        if let Some(folder) = &load.plots {
            plot.write(folder, course.name).map_err(Failure::machine("write a plot"))?;
        }
    }
    // The first says enough: the table has the others.
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// Plays one course.
async fn play(course: &Course, way: Way, file: &File) -> Result<Run, Failure> {
    let (scene, bob) = Scene::new(way, course.network).await?;
    let pace = chat::pace(course);
    let begin = pace.due(0);
    let heard = Heard::listen(pace, |ear| chat::listen(bob, scene.conversation, ear));
    let sent = Sent::send(&scene, file, begin).await?;
    let (lanes, clock) = pace.start();
    let writing = lanes.into_iter().map(|lane| chat::write(&scene, lane)).collect::<Vec<_>>();
    turn(course, &scene, begin.into()).await?;
    for one in writing {
        one.await.map_err(Failure::from)??;
    }
    let unsent = clock.join().unwrap_or(pace.messages());
    let mut sent = sent.complete(way.patience()).await?;
    let heard = heard.complete(pace.end()).await?;
    let states = std::mem::take(&mut sent.states);
    Ok(Run { system: way.name(), heard, sent: Some(sent), states, unsent })
}

/// Lets happen what the course has, when it is to.
async fn turn(course: &Course, scene: &Scene, begin: Instant) -> Result<(), Failure> {
    for turn in &course.turns {
        sleep_until(begin + turn.at).await;
        scene.apply(turn.step)?;
        if turn.is_told {
            scene.alice.network_changed().await;
        }
    }
    Ok(())
}
