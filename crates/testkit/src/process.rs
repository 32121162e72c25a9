//! A server process that ends with the test process, however that ends.
//!
//! The kernel sends SIGKILL to the child when the *thread* that started it ends, so all are started
//! by one thread that never does. `setpriv` (util-linux) asks the kernel for that, since the test
//! process itself must do without `unsafe`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::PATIENCE;

/// How often the end of a process is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How many starts may wait for the thread that does them.
const STARTS_WAITING_MAX: usize = 16;

/// What to start, and as whom.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    environment: Vec<(String, String)>,
    user: Option<String>,
    log: PathBuf,
}

/// A process that was started. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Child,
}

impl Program {
    /// A program whose output goes to the end of the file `log`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
            log: log.into(),
        }
    }

    /// With this argument more.
    #[must_use]
    pub fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    /// With these arguments more.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|one| one.as_ref().to_owned()));
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As this user, which takes root.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Process {
        let child = spawn(self.command());
        Process { program: self, child }
    }

    /// Runs it to its end, which must be a success.
    pub fn run(self) {
        let log = self.log.clone();
        let path = self.path.clone();
        let status = self.start().wait();
        assert!(status.success(), "{} ended with {status}:\n{}", path.display(), read(&log));
    }

    fn command(&self) -> Command {
        let log = fs::File::options().create(true).append(true).open(&self.log);
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", self.log.display()));
        let mut command = Command::new("setpriv");
        if let Some(user) = &self.user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.path)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // A Ctrl-C is for the tests, which end their servers in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        command
    }
}

impl Process {
    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_none()
    }

    /// Ends it at once, as `kill -9` does, and waits for that.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Stops it where it is, without its noticing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(self.id().to_string()).stderr(Stdio::null());
        let status = kill.status().expect("kill(1) is there");
        assert!(status.success(), "{} has ended already", self.program.path.display());
    }

    /// Waits for the end of a process that was told to end.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for(PATIENCE)
    }

    /// Waits this long for the end of a process that was told to end.
    pub fn wait_for(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            let path = self.program.path.display();
            assert!(Instant::now() < deadline, "{path} does not end:\n{}", self.log());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Starts the same again, after it has ended.
    pub fn restart(&mut self) {
        assert!(!self.is_running(), "{} has not ended", self.program.path.display());
        self.child = spawn(self.program.command());
    }

    /// Waits until `ready` holds; an end of the process before that is a failure.
    pub fn until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                panic!("{} ended with {status}:\n{}", self.program.path.display(), self.log());
            }
            let path = self.program.path.display();
            assert!(Instant::now() < deadline, "{path}: waited until {what}:\n{}", self.log());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// What it has written, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.program.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits until `ready` holds.
pub fn patiently(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

type Start = (Command, mpsc::SyncSender<std::io::Result<Child>>);

/// Starts a process from the thread that outlives all others.
fn spawn(command: Command) -> Child {
    static STARTER: OnceLock<mpsc::SyncSender<Start>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, starts) = mpsc::sync_channel::<Start>(STARTS_WAITING_MAX);
        thread::spawn(move || {
            for (mut command, answer) in starts {
                // Nobody waits any more only if the process is ending anyway.
                answer.send(command.spawn()).ok();
            }
        });
        sender
    });
    let (answer, started) = mpsc::sync_channel(1);
    starter.send((command, answer)).expect("the starter never ends");
    let child = started.recv().expect("the starter answers");
    child.unwrap_or_else(|error| panic!("cannot start a process with setpriv: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlives_the_thread_that_started_it_and_no_more() {
        let log = crate::folder::new("process").join("log");
        let start = move || Program::new("sleep", log).args(["600"]).start();
        let mut process = thread::spawn(start).join().expect("it starts");
        process.freeze();
        process.thaw();
        assert!(process.is_running());
        process.kill();
        assert!(!process.is_running());
        process.restart();
        process.terminate();
        assert!(!process.wait().success());
    }
}
