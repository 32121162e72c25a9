//! A whole cluster on this machine, each part the real one: PostgreSQL, Redis, S3 and SMTP servers,
//! and a `skeind` process for each role, which speak mutual TLS with one another.
//!
//! Processes go by their names: `gate-1`, `verify-1`, `status-1`, `status-2`, `chat-1` to `chat-3`,
//! `resource-1`, `resource-2`.

mod config;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use serde_json::Value;

use crate::{
    binaries::binary,
    clock, folder, postgres,
    postgres::Postgres,
    process::{Process, Program},
    redis::Redis,
    s3::S3,
    smtp::SmtpServer,
};

/// The name and password with which the cluster logs in at the mail server.
const MAIL_LOGIN: (&str, &str) = ("skein", "skein-mail");
/// The database's name.
pub const DATABASE: &str = "skein";

/// How many processes of each role there are.
const PROCESSES: [(&str, usize); 5] =
    [("verify", 1), ("status", 2), ("resource", 2), ("chat", 3), ("gate", 1)];

/// What may differ from a cluster as it comes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Configuration (TOML) for every process, over what the cluster needs.
    pub config: String,
    /// Configuration (TOML) for the processes of these names.
    pub configs: Vec<(String, String)>,
    /// How far the clocks of the processes of these names are off, in seconds.
    pub clocks: Vec<(String, i64)>,
    /// Where everything is kept; a folder that goes with the process if unset.
    pub folder: Option<PathBuf>,
    /// About the database.
    pub postgres: postgres::Options,
}

/// A running cluster. It ends when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The role processes by name.
    nodes: BTreeMap<String, Node>,
    /// The database server.
    pub postgres: Postgres,
    /// The bus.
    pub redis: Redis,
    /// The object store.
    pub s3: S3,
    /// The mail server.
    pub mail: SmtpServer,
    folder: PathBuf,
    plan: config::Plan,
}

#[derive(Debug)]
struct Node {
    process: Process,
    ready: PathBuf,
}

impl Cluster {
    /// Starts everything, and waits until all of it accepts.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    /// Starts everything with these options, and waits until all of it accepts.
    #[must_use]
    pub fn with(options: &Options) -> Self {
        let folder = options.folder.clone().unwrap_or_else(|| folder::new("cluster"));
        let part = |name: &str| {
            let part = folder.join(name);
            fs::create_dir_all(&part).expect("the folder is ours");
            part
        };
        let (postgres, mail) = (part("postgres"), part("mail"));
        let certificate = config::mail_certificate(&mail);
        let postgres = Postgres::start_in(&postgres, &options.postgres);
        if postgres.databases().iter().all(|database| database != DATABASE) {
            postgres.create_database(DATABASE);
        }
        let redis = Redis::start();
        let s3 = S3::start_in(&part("s3"));
        let mail = SmtpServer::with_login_in(&mail, &certificate.0, &certificate.1, MAIL_LOGIN);

        let certs = folder.join("certs");
        if !certs.exists() {
            skeind(&folder).arg("certs").arg(&certs).succeed();
        }
        let plan = config::Plan::new(
            &folder,
            &config::Parts {
                postgres: &postgres,
                redis: &redis,
                s3: &s3,
                mail: &mail,
                mail_certificate: &certificate.0,
            },
        );
        let mut cluster = Self { nodes: BTreeMap::new(), postgres, redis, s3, mail, folder, plan };
        cluster.plan.write_configs(options);
        cluster.command("admin-1").arg("migrate").succeed();
        let turned: BTreeMap<_, _> = options.clocks.iter().cloned().collect();
        for name in names() {
            let node = cluster.launch(&name, turned.get(&name).copied());
            cluster.nodes.insert(name, node);
        }
        for name in names() {
            cluster.await_ready(&name);
        }
        cluster
    }

    /// The gate's URL.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.plan.address("gate-1", "http"))
    }

    /// Where a process listens for what: `http`, `quic`, `rpc` or `observe`, as `host:port`.
    #[must_use]
    pub fn address(&self, name: &str, what: &str) -> String {
        self.plan.address(name, what)
    }

    /// The folder with everything: data, configuration and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database's URL.
    #[must_use]
    pub fn database(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// The names of the processes of a role.
    #[must_use]
    pub fn names_of(&self, role: &str) -> Vec<String> {
        names().into_iter().filter(|name| config::role(name) == role).collect()
    }

    /// Ends a process at once, as `kill -9` does.
    pub fn kill(&mut self, name: &str) {
        self.node(name).process.kill();
    }

    /// Stops a process where it is, without its noticing.
    pub fn freeze(&mut self, name: &str) {
        self.node(name).process.freeze();
    }

    /// Lets a process go on after [`freeze`](Self::freeze).
    pub fn thaw(&mut self, name: &str) {
        self.node(name).process.thaw();
    }

    /// Sends SIGTERM to a process.
    pub fn terminate(&mut self, name: &str) {
        self.node(name).process.terminate();
    }

    /// Waits for the end of a process that was told to end.
    pub fn wait(&mut self, name: &str) -> ExitStatus {
        self.node(name).process.wait()
    }

    /// Whether a process has not ended.
    pub fn is_running(&mut self, name: &str) -> bool {
        self.node(name).process.is_running()
    }

    /// Starts a process again, on the same ports and data, after it has ended, and waits until it
    /// accepts.
    pub fn restart(&mut self, name: &str) {
        self.restart_without_waiting(name);
        self.await_ready(name);
    }

    /// Starts a process again, after it has ended.
    pub fn restart_without_waiting(&mut self, name: &str) {
        let node = self.node(name);
        fs::remove_file(&node.ready).ok();
        node.process.restart();
    }

    /// Waits until a process accepts.
    pub fn await_ready(&mut self, name: &str) {
        let node = self.node(name);
        let ready = node.ready.clone();
        node.process.until("it has written its ready file", || ready.is_file());
    }

    /// What a process has logged, over all its starts.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name).join("log")).unwrap_or_default()
    }

    /// The file with a process's configuration, for changing it before a restart.
    #[must_use]
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.plan.config_file(name)
    }

    /// Runs `skeind admin` with these arguments.
    pub fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("admin-1");
        command.arg("admin").args(arguments);
        command.output().expect("skeind starts")
    }

    /// Runs `skeind admin --json` with these arguments, which must succeed; gives what it prints.
    pub fn admin_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.admin(&all);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output)))
    }

    /// `skeind` with the configuration of a process, for commands that end.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = skeind(&self.folder);
        command.arg("--config").arg(self.plan.config_file(name));
        command
    }

    /// Ends all role processes in order, which takes as long as they need at most `patience` each.
    pub fn shut_down(&mut self, patience: Duration) {
        for name in names().iter().rev() {
            let process = &mut self.node(name).process;
            if process.is_running() {
                process.terminate();
            }
        }
        for name in names().iter().rev() {
            self.node(name).process.wait_for(patience);
        }
    }

    fn launch(&self, name: &str, clock_offset_seconds: Option<i64>) -> Node {
        let folder = self.folder.join(name);
        let ready = folder.join("ready.json");
        fs::remove_file(&ready).ok();
        let mut program = Program::new(binary("skeind"), folder.join("log"))
            .arg(config::role(name))
            .args(["--config".as_ref(), self.plan.config_file(name).as_os_str()])
            .args(["--ready-file".as_ref(), ready.as_os_str()]);
        if let Some(seconds) = clock_offset_seconds {
            program = clock::turned(program, seconds);
        }
        Node { process: program.start(), ready }
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("there is no process {name}"))
    }
}

/// The names of all processes: those that others call first.
#[must_use]
pub fn names() -> Vec<String> {
    let names = PROCESSES
        .iter()
        .flat_map(|(role, count)| (1..=*count).map(move |number| format!("{role}-{number}")));
    names.collect()
}

fn skeind(folder: &Path) -> Command {
    let mut command = Command::new(binary("skeind"));
    command.current_dir(folder);
    command
}

/// Runs to the end of something that must go well.
trait Succeed {
    fn succeed(&mut self);
}

impl Succeed for Command {
    fn succeed(&mut self) {
        let output = self.output().expect("skeind starts");
        assert!(output.status.success(), "{self:?}: {}", text(&output));
    }
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}: {}", output.status, String::from_utf8_lossy(&both))
}
