//! A `skeind` process.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, binaries::binary, memory, network::UdpRelay, port};

/// A running server with a data folder of its own. It is killed when dropped.
pub struct Server {
    folder: TempDir,
    child: Child,
    http: String,
    quic: SocketAddr,
    config: String,
}

impl Server {
    /// Starts a server on free ports with the default configuration.
    #[must_use]
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// Starts a server on free ports with this TOML. It has a minute to stop unless that says
    /// otherwise.
    #[must_use]
    pub fn with_config(config: &str) -> Self {
        Self::on(local(), config)
    }

    /// As [`with_config`](Self::with_config), for clients that are sent through a relay, which does
    /// nothing yet. The configuration has no table `chat`.
    #[must_use]
    pub fn behind_a_relay(config: &str) -> (Self, UdpRelay) {
        let quic = local();
        let relay = UdpRelay::start(quic).expect("a relay");
        let chat = format!("{config}\n[chat]\nadvertise = \"{}\"\n", relay.address());
        (Self::on(quic, &chat), relay)
    }

    fn on(quic: SocketAddr, config: &str) -> Self {
        let folder = TempDir::new().expect("the temporary folder takes folders");
        let child = spawn(folder.path(), config, local(), quic);
        let mut server =
            Self { folder, child, http: String::new(), quic, config: config.to_owned() };
        server.await_ready();
        server
    }

    /// The gate's URL.
    #[must_use]
    pub fn http(&self) -> &str {
        &self.http
    }

    /// Where the chat role listens.
    #[must_use]
    pub const fn quic(&self) -> SocketAddr {
        self.quic
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the server has logged, over all its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Starts the server again, on the same ports and data, after it was killed or has ended.
    pub fn restart(&mut self) {
        let http = self.http.rsplit('/').next().and_then(|addr| addr.parse().ok());
        let http = http.expect("the gate's URL ends with its address");
        fs::remove_file(self.folder.path().join("ready.json")).ok();
        self.child = spawn(self.folder.path(), &self.config, http, self.quic);
        self.await_ready();
    }

    /// As [`restart`](Self::restart), with another configuration.
    pub fn restart_with(&mut self, config: &str) {
        config.clone_into(&mut self.config);
        self.restart();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(status.expect("kill(1) is there").success(), "the server has ended already");
    }

    /// Waits for the end of a server that was told to end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The most memory that the process has held, in bytes (`VmHWM`, proc(5)).
    #[must_use]
    pub fn peak_memory_bytes(&self) -> u64 {
        memory::peak_bytes(self.id())
    }

    /// The memory that the process holds now, in bytes (`VmRSS`, proc(5)).
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        memory::resident_bytes(self.id())
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The mails in the outbox folder, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let mut paths: Vec<_> = fs::read_dir(self.data().join("mail"))
            .map(|folder| folder.filter_map(|file| Some(file.ok()?.path())).collect())
            .unwrap_or_default();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("a mail is text")).collect()
    }

    fn await_ready(&mut self) {
        let path = self.folder.path().join("ready.json");
        let deadline = Instant::now() + PATIENCE;
        let text = loop {
            if let Ok(text) = fs::read_to_string(&path) {
                break text;
            }
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        let ready: Value = serde_json::from_str(&text).expect("the ready file is JSON");
        let field = |name: &str| ready[name].as_str().expect("the ready file names it").to_owned();
        self.http = field("http");
        self.quic = field("quic").parse().expect("an address");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Not any port: it has to be free when a server comes back to it.
fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port::free()))
}

/// The configuration, with time to end in order on a busy machine, unless it says how much.
fn patient(config: &str) -> String {
    if config.contains("[shutdown]") {
        return config.to_owned();
    }
    format!("{config}\n[shutdown]\ndeadline_seconds = {}\n", PATIENCE.as_secs())
}

fn spawn(folder: &Path, config: &str, http: SocketAddr, quic: SocketAddr) -> Child {
    let file = folder.join("skein.toml");
    fs::write(&file, patient(config)).expect("the folder is ours");
    let log = fs::File::options().create(true).append(true).open(folder.join("log"));
    Command::new(binary("skeind"))
        .args(["--data".as_ref(), folder.join("data").as_os_str()])
        .args(["--http", &http.to_string(), "--quic", &quic.to_string()])
        .args(["--config".as_ref(), file.as_os_str()])
        .args(["--ready-file".as_ref(), folder.join("ready.json").as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the folder is ours"))
        .spawn()
        .expect("skeind starts")
}
