//! What stands beside Skein has in common that it runs on Node, behind a relay for TCP on a path
//! of its own. `make peers` installs it.

use std::{
    path::{Path as Folder, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use skein_testkit::network::{Death, Scripted, Step, TcpRelay};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::sleep_until,
};

use super::course::Course;
use crate::failure::Failure;

/// Where `make peers` puts things, a folder each.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools");

/// How long after the chat what stands beside Skein may take for what is still on its way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the packages for Node in this folder are installed.
pub(crate) fn is_installed(folder: &str) -> bool {
    Folder::new(FOLDER).join(folder).join("node_modules").is_dir()
}

/// A script in such a folder. It ends when dropped, and sees its input end when the bench has ended.
pub(crate) fn node(folder: &str, script: &str) -> Command {
    let script: PathBuf = [FOLDER, folder, script].iter().collect();
    let mut node = Command::new("node");
    node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    node
}

/// What a script prints.
pub(crate) fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("it is piped")).lines()
}

/// Lets happen what the course has. Where the system tells programs of another network it ends
/// their connections as well; otherwise they die in silence.
pub(crate) async fn turn(course: &Course, relay: &TcpRelay, begin: Instant) -> Result<(), Failure> {
    for turn in &course.turns {
        sleep_until((begin + turn.at).into()).await;
        match turn.step {
            Step::Readdress(address) if turn.is_told => relay.readdress(address, Death::Reset),
            step => relay.apply(step).map_err(Failure::machine("change the network"))?,
        }
    }
    Ok(())
}
