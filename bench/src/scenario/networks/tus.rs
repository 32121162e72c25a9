//! The same file by tus, a resumable upload over HTTP: its reference server and client for Node,
//! behind the same relay on the same path, as their documentation has them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path as Folder, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use skein_testkit::network::{Path, TcpRelay};
use tempfile::TempDir;
use tokio::{
    process::Child,
    time::{interval, timeout_at},
};

use super::{
    chat,
    course::Course,
    peer::{self, PATIENCE},
    tally::Run,
    upload,
};
use crate::failure::Failure;

/// The system's name in results.
const NAME: &str = "tus";
/// Where it is among the tools.
const FOLDER: &str = "tus";
/// How often is looked how much the server has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the client prints, a line each.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    /// Bytes that it has handed to its socket.
    Sent(u64),
    /// Bytes that the server says it has.
    Has(u64),
    Failed(String),
    Done,
}

/// Whether it is installed.
pub(crate) fn is_there() -> bool {
    peer::is_installed(FOLDER)
}

/// Uploads the file while the course is played.
///
/// # Errors
/// If it cannot be started. An upload that does not come to its end is none.
pub(crate) async fn play(course: &Course, file: &upload::File) -> Result<Run, Failure> {
    let folder = TempDir::new().map_err(Failure::machine("make a folder"))?;
    let mut server = node("server.mjs", &[folder.path()])?;
    let mut lines = peer::lines(&mut server);
    let port = lines.next_line().await.map_err(Failure::machine("read from the tus server"))?;
    let port = port.and_then(|port| port.trim().parse().ok()).ok_or(Failure::Peer(NAME))?;
    let path = Path::default();
    path.set_both(course.network);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let relay = TcpRelay::start_on(path, address).map_err(Failure::machine("open a relay"))?;

    let url = format!("http://{}/files", relay.address());
    let begin = Instant::now();
    let mut client = node("client.mjs", &[Folder::new(&url), file.path()])?;
    let notes: Arc<Mutex<upload::Notes>> = Arc::default();
    let looking = tokio::spawn(look(folder.path().to_owned(), begin, Arc::clone(&notes)));
    let following = follow(&mut client, begin, &notes);
    let end = begin + course.chat + PATIENCE;
    let (turned, followed) =
        tokio::join!(peer::turn(course, &relay, begin), timeout_at(end.into(), following));
    looking.abort();
    turned?;
    if followed.is_err() {
        eprintln!("skein-bench: {}: {NAME} was not through after {PATIENCE:?} more", course.name);
    }
    let sent = Some(notes.lock().unwrap_or_else(PoisonError::into_inner).clone());
    Ok(Run { system: NAME, heard: chat::Notes::default(), sent, states: Vec::new(), unsent: 0 })
}

/// A program of it. It is ended when dropped.
fn node(script: &str, arguments: &[&Folder]) -> Result<Child, Failure> {
    peer::node(FOLDER, script).args(arguments).spawn().map_err(Failure::machine("start node"))
}

/// Listens to the client until it is at its end.
async fn follow(client: &mut Child, begin: Instant, notes: &Mutex<upload::Notes>) {
    let mut lines = peer::lines(client);
    let mut sent = 0;
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(news) = serde_json::from_str(&line) else { continue };
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Sent(bytes) => sent = bytes,
            News::Has(bytes) => {
                // From here it goes on: what was sent beyond is sent again.
                notes.resent_bytes += sent.saturating_sub(bytes);
                sent = bytes;
            }
            News::Failed(why) => eprintln!("skein-bench: {NAME}: {why}"),
            News::Done => notes.done = Some(begin.elapsed()),
        }
    }
}

/// Looks how much is there, as the disk has it.
async fn look(folder: PathBuf, begin: Instant, notes: Arc<Mutex<upload::Notes>>) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let sizes = fs::read_dir(&folder).into_iter().flatten().filter_map(|file| {
            let file = file.ok()?;
            let is_content = file.path().extension().is_none();
            is_content.then(|| file.metadata().ok().map(|data| data.len()))?
        });
        let bytes = sizes.max().unwrap_or(0);
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.progress.push((begin.elapsed(), bytes));
    }
}
