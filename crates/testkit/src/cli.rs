//! The `skein` binary, as a person or a script would use it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, binaries::binary};

/// What a command says that had no connection in time.
const STALE: &str = "this is what is here";

/// The password of every account that the tests make.
pub const PASSWORD: &str = "correct horse battery staple";

/// A person with a home folder on one device.
pub struct Cli {
    home: TempDir,
    server: String,
    namespace: Option<String>,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said to the person.
    pub stderr: String,
}

/// A command that goes on, such as `watch`. It is killed when dropped.
pub struct Watcher {
    child: Child,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Cli {
    /// A new home folder, for a server that is named with the first command.
    #[must_use]
    pub fn new(server: &str) -> Self {
        let home = TempDir::new().expect("the temporary folder takes folders");
        Self { home, server: server.to_owned(), namespace: None }
    }

    /// As [`new`](Self::new), with every command run in this network namespace, which takes root.
    #[must_use]
    pub fn within(server: &str, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::new(server) }
    }

    /// A new home folder with a new account, logged in.
    #[must_use]
    pub fn registered(server: &str, name: &str) -> Self {
        let cli = Self::new(server);
        cli.register(name);
        cli
    }

    /// Makes an account and logs in on this home.
    pub fn register(&self, name: &str) {
        let email = format!("{name}@example.org");
        self.with_password(&["register", name, "--email", &email, "--password-stdin"]).success();
    }

    /// A new home folder for an account that exists: another device.
    #[must_use]
    pub fn logged_in(server: &str, name: &str) -> Self {
        let cli = Self::new(server);
        cli.with_password(&["login", name, "--password-stdin"]).success();
        cli
    }

    /// Two new accounts, `alice` and `bob`, that are contacts.
    #[must_use]
    pub fn contacts(server: &str) -> (Self, Self) {
        let alice = Self::registered(server, "alice");
        let bob = Self::registered(server, "bob");
        alice.json(&["add", "bob"]);
        bob.json(&["accept", "alice"]);
        (alice, bob)
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        self.finish(self.command(arguments).stdin(Stdio::null()), None)
    }

    /// Runs a command that reads the password from its input.
    pub fn with_password<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        self.finish(self.command(arguments).stdin(Stdio::piped()), Some(PASSWORD))
    }

    /// Runs a command with `--json` that must succeed, and gives its objects. One that was not
    /// connected in time, and tells only what it has, is run again.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut command = self.command(&["--json"]);
            command.args(arguments).stdin(Stdio::null());
            let answer = self.finish(&mut command, None).success();
            if !answer.stderr.contains(STALE) {
                return answer.objects();
            }
            assert!(Instant::now() < deadline, "offline all the time: {answer:?}");
        }
    }

    /// Runs a command that must succeed until it says this to the person: what it learns by the way
    /// may come too late for a busy machine.
    pub fn run_until_told<S: AsRef<OsStr>>(&self, arguments: &[S], wanted: &str) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.run(arguments).success();
            if answer.stderr.contains(wanted) {
                return answer;
            }
            assert!(Instant::now() < deadline, "not told in time: {answer:?}");
        }
    }

    /// Starts a command that goes on, with `--json`.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Watcher {
        let mut command = self.command(&["--json"]);
        command.args(arguments).stdin(Stdio::null());
        Watcher::start(&mut command)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(binary("skein")),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary("skein"));
                command
            }
        };
        command.arg("--home").arg(self.home.path()).args(["--server", &self.server]);
        command.args(arguments).current_dir(self.home.path());
        command
    }

    fn finish(&self, command: &mut Command, input: Option<&str>) -> Answer {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("skein starts");
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            writeln!(stdin, "{text}").expect("skein reads its input");
        }
        let output = child.wait_with_output().expect("the process is ours");
        Answer {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A path in the home folder, for files that a test makes.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Answer {
    /// The answer, if the command succeeded.
    pub fn success(self) -> Self {
        assert!(self.status.success(), "skein failed: {self:?}");
        self
    }

    /// The answer, if the command failed with this exit code.
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self
    }

    /// The objects that `--json` printed.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("--json prints an object a line");
        self.stdout.lines().map(parse).collect()
    }
}

impl Watcher {
    /// Starts a program that prints a JSON object a line.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let lines = lines(child.stdout.take().expect("piped"));
        let errors = lines_of_errors(&mut child);
        Self { child, lines, errors }
    }

    /// Ends the input of a program that was started with one.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next object that it prints, unless it has printed nothing after this long.
    #[must_use]
    pub fn next_within(&self, patience: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(patience).ok()?;
        Some(serde_json::from_str(&line).expect("--json prints an object a line"))
    }

    /// The next object that it prints.
    pub fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("another object in time");
        serde_json::from_str(&line).expect("--json prints an object a line")
    }

    /// The next object for which `wanted` holds; others are passed over.
    pub fn find(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let object = self.next();
            if wanted(&object) {
                return object;
            }
        }
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; gives its exit status and what it said to the person.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("the process is ours");
        (status, self.errors.iter().collect::<Vec<_>>().join("\n"))
    }

    /// What it has printed so far and nobody has asked for.
    #[must_use]
    pub fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn lines(source: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    // Bounded so that a process that prints without end stops by itself.
    let (sender, receiver) = mpsc::sync_channel(100_000);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn lines_of_errors(child: &mut Child) -> mpsc::Receiver<String> {
    lines(child.stderr.take().expect("piped"))
}
