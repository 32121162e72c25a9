//! A real SMTP server: aiosmtpd, run by the Python that the test command has prepared.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

use crate::PATIENCE;

/// The variable that names the Python with aiosmtpd; `make test` sets it.
const PYTHON_VARIABLE: &str = "AIOSMTPD_PYTHON";
/// Mails that a test may leave unread.
const MAILS_MAX: usize = 1000;

/// A running SMTP server. It ends when dropped.
pub struct SmtpServer {
    child: Child,
    _stdin: ChildStdin,
    port: u16,
    mails: mpsc::Receiver<Value>,
}

impl SmtpServer {
    /// Starts the server in `script` on a free port.
    #[must_use]
    pub fn start(script: &Path) -> Self {
        Self::run(Command::new(python()).arg(script))
    }

    /// Starts the server in `script` on a free port. It shows this certificate, and takes mail only
    /// after STARTTLS and a login with this name and password.
    #[must_use]
    pub fn with_login(script: &Path, certificate: &Path, key: &Path, login: (&str, &str)) -> Self {
        let mut command = Command::new(python());
        Self::run(command.arg(script).arg(certificate).arg(key).args([login.0, login.1]))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", python().display()));
        let stdin = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = lines.next().and_then(|line| line.ok()?.parse().ok()).unwrap_or_else(|| {
            panic!(
                "{} has no aiosmtpd: run `make tools`, or name one that has with {PYTHON_VARIABLE}",
                python().display()
            )
        });
        let (sender, mails) = mpsc::sync_channel(MAILS_MAX);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mail = serde_json::from_str(&line).expect("the script prints JSON");
                if sender.send(mail).is_err() {
                    return;
                }
            }
        });
        Self { child, _stdin: stdin, port, mails }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The next mail: an object with `from`, `to` and `data`.
    #[must_use]
    pub fn mail(&self) -> Value {
        self.mails.recv_timeout(PATIENCE).expect("a mail in time")
    }
}

fn python() -> PathBuf {
    env::var_os(PYTHON_VARIABLE).map_or_else(|| "python3".into(), PathBuf::from)
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
