//! A real PostgreSQL server with a data folder of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use crate::{
    folder, port,
    process::{Process, Program},
    user,
};

/// Where Debian puts each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The oldest version that Skein supports.
const VERSION_MIN: u32 = 15;
/// The user as whom the server runs if the tests are root, which it refuses to be.
const USER: &str = "postgres";
/// The database's owner.
const OWNER: &str = "skein";
/// The owner's password; the server listens on this machine only, for the length of a test.
const PASSWORD: &str = "skein-test";
/// Connections that the server takes: those of several clusters' worth of pools.
const CONNECTIONS_MAX: u32 = 300;

/// A running server. It ends when dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    process: Process,
    port: u16,
    tls: bool,
}

/// What may differ from a server as it is installed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Do not wait for the disk. A test that only stops the process would not see a difference.
    pub without_fsync: bool,
    /// Speak TLS, with this certificate and its key, as PEM.
    pub tls: Option<(String, String)>,
    /// Further settings, such as `("max_connections", "20")`.
    pub settings: Vec<(String, String)>,
}

impl Postgres {
    /// Starts a server on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    /// Starts a server with these options.
    #[must_use]
    pub fn with(options: &Options) -> Self {
        Self::start_in(&folder::new("postgres"), options)
    }

    /// Starts a server that keeps what it has in this folder, which outlives it.
    #[must_use]
    pub fn start_in(folder: &Path, options: &Options) -> Self {
        let programs = programs();
        if !folder.join("data/PG_VERSION").exists() {
            create(&programs, folder);
        }
        let port = port::free();
        let data = folder.join("data");
        configure(&data, port, options);
        let log = folder.join("log");
        let process = as_user(Program::new(programs.join("postgres"), log))
            .args(["-D".as_ref(), data.as_os_str()])
            .start();
        let tls = options.tls.is_some();
        let mut server = Self { programs, folder: folder.to_owned(), process, port, tls };
        server.await_ready();
        server
    }

    /// The server that all tests of this process share, each with databases of its own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::with(&Options { without_fsync: true, ..Options::default() }))
    }

    /// The URL of a database, with the owner's password in it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let tls = if self.tls { "?sslmode=require" } else { "" };
        format!("postgres://{OWNER}:{PASSWORD}@127.0.0.1:{}/{database}{tls}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database; gives its URL.
    pub fn create_database(&self, name: &str) -> String {
        let output = self.run("createdb", &[name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.url(name)
    }

    /// The names of all databases.
    #[must_use]
    pub fn databases(&self) -> Vec<String> {
        let names = self.sql("postgres", "SELECT datname FROM pg_database");
        names.lines().map(str::to_owned).collect()
    }

    /// Makes an empty database that no other test has; gives its URL.
    pub fn fresh_database(&self) -> String {
        self.create_database(&format!("test_{:016x}", rand::random::<u64>()))
    }

    /// Makes a copy of a database that nobody uses; gives its URL.
    pub fn copy_database(&self, template: &str) -> String {
        let name = format!("test_{:016x}", rand::random::<u64>());
        let output = self.run("createdb", &["--template", template, &name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.url(&name)
    }

    /// Runs SQL in a database; gives the rows, a line each, with `|` between the columns.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.run("psql", &["-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql, database]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends it, without waiting for its clients to leave.
    pub fn stop(&mut self) {
        self.process.signal("INT");
        self.process.wait();
    }

    /// Ends it without a checkpoint, so that the next start has to recover, as after a crash.
    pub fn crash(&mut self) {
        self.process.signal("QUIT");
        self.process.wait();
    }

    /// Starts it again on the same port and data, after it has ended.
    pub fn resume(&mut self) {
        self.process.restart();
        self.await_ready();
    }

    /// Ends it and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Stops all of its processes where they are, until the answer is dropped.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        // The first of them starts no more while it is stopped.
        self.process.freeze();
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.expect("the kernel lists the children of a process");
        let children = children.split_whitespace().map(str::to_owned).collect();
        let frozen = Frozen { server: self, children };
        frozen.signal("-STOP");
        frozen
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn await_ready(&mut self) {
        let (programs, port) = (&self.programs, self.port.to_string());
        self.process.until("it accepts connections", || {
            let mut ask = Command::new(programs.join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &port]);
            ask.status().expect("pg_isready is beside postgres").success()
        });
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(self.programs.join(program))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", OWNER])
            .args(arguments)
            .env("PGPASSWORD", PASSWORD)
            .current_dir(&self.folder)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"))
    }
}

/// A server that is stopped where it is. It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a> {
    server: &'a Postgres,
    /// The numbers of its other processes.
    children: Vec<String>,
}

impl Frozen<'_> {
    fn signal(&self, signal: &str) {
        // One may have ended just before.
        let mut kill = Command::new("kill");
        kill.arg(signal).args(&self.children).stderr(std::process::Stdio::null());
        kill.status().expect("kill(1) is there");
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.signal("-CONT");
        self.server.process.thaw();
    }
}

/// Makes the data folder. The server's user owns it.
fn create(programs: &Path, folder: &Path) {
    let data = folder.join("data");
    fs::create_dir(&data).expect("the folder is ours");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
    let password = folder.join("password");
    fs::write(&password, PASSWORD).expect("the folder is ours");
    for path in [&data, &password] {
        give(path);
    }
    as_user(Program::new(programs.join("initdb"), folder.join("initdb.log")))
        .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256"])
        .args([format!("--username={OWNER}"), format!("--pwfile={}", password.display())])
        .args(["-D".as_ref(), data.as_os_str()])
        .run();
}

fn configure(data: &Path, port: u16, options: &Options) {
    let mut lines = vec![
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("port = {port}"),
        "unix_socket_directories = ''".to_owned(),
        format!("max_connections = {CONNECTIONS_MAX}"),
        "log_min_duration_statement = 1000".to_owned(),
    ];
    if options.without_fsync {
        lines.extend(["fsync = off", "full_page_writes = off"].map(str::to_owned));
    }
    if let Some((certificate, key)) = &options.tls {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).expect("the folder is ours");
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&path, mode).expect("the file is ours");
            give(&path);
        }
        lines.push("ssl = on".to_owned());
    }
    lines.extend(options.settings.iter().map(|(name, value)| format!("{name} = '{value}'")));
    let path = data.join("postgresql.auto.conf");
    fs::write(&path, lines.join("\n") + "\n").expect("the folder is ours");
    give(&path);
}

/// The folder with the programs of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= VERSION_MIN)
        .max();
    let folder = newest.map(|version| Path::new(VERSIONS).join(version.to_string()).join("bin"));
    folder
        .filter(|folder| folder.join("postgres").is_file())
        .expect("there is no PostgreSQL 15 or later in /usr/lib/postgresql: run `make tools`")
}

fn as_user(program: Program) -> Program {
    user::run_as(USER, program)
}

/// Makes a file the server's.
fn give(path: &Path) {
    user::give(USER, path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_has_over_a_restart_and_a_crash() {
        let mut server = Postgres::start();
        assert_eq!(server.create_database("one"), server.url("one"));
        server.sql("one", "CREATE TABLE t (n int)");
        server.restart();
        server.sql("one", "INSERT INTO t VALUES (7)");
        server.crash();
        server.resume();
        assert_eq!(server.sql("one", "SELECT n, n + 1 FROM t"), "7|8");
    }
}
