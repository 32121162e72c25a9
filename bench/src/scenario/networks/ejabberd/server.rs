//! An ejabberd for one course, as the system's package has it, in a folder of its own: a listener
//! for clients with TLS, two accounts, and nothing else.
//!
//! It is started without `ejabberdctl`, which insists on the package's user and on a node that
//! others can find: without a name an Erlang node listens to nobody and needs no epmd.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, KeyPair};
use skein_testkit::{
    folder, port,
    process::{Process, Program},
    user,
};

/// Where Debian has libraries, a folder for each kind of machine.
const LIBRARIES: &str = "/usr/lib";
/// The user that the package makes, as whom it runs if the bench is root.
const USER: &str = "ejabberd";
/// Makes the accounts, whose password the scripts know, and says that all is done.
const ACCOUNTS: &str = r#"
    [ok = ejabberd_auth:try_register(Name, <<"localhost">>, <<"secret">>)
        || Name <- [<<"alice">>, <<"bob">>]],
    io:format("accounts are made~n")."#;
/// What [`ACCOUNTS`] says.
const READY: &str = "accounts are made";

/// A running server. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    certificate: PathBuf,
    _process: Process,
}

/// Whether it is installed.
pub(crate) fn is_installed() -> bool {
    libraries().is_some()
}

impl Server {
    /// Starts one on a free port of 127.0.0.1.
    pub(crate) fn start() -> Self {
        let folder = folder::new("ejabberd");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
        let (pem, key) = make_certificate();
        let certificate = folder.join("certificate.pem");
        let both = folder.join("certificate-and-key.pem");
        let configuration = folder.join("ejabberd.yml");
        let data = folder.join("data");
        let write = |path, text: String| fs::write(path, text).expect("the folder is ours");
        write(&certificate, pem.clone());
        write(&both, pem + &key);
        write(&configuration, configure(address.port(), &both));
        fs::create_dir(&data).expect("the folder is ours");
        for path in [&both, &configuration, &data] {
            user::give(USER, path);
        }
        let mut process = program(&folder, &configuration, &data).start();
        let log = folder.join("log");
        process.until("it has accounts", || {
            fs::read_to_string(&log).is_ok_and(|log| log.contains(READY))
        });
        Self { address, certificate, _process: process }
    }

    /// Where clients connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the certificate, which nobody has signed but itself.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

fn program(folder: &Path, configuration: &Path, data: &Path) -> Program {
    let libraries = libraries().expect("it is installed, or this would not be played");
    let path = |path: &Path| path.display().to_string();
    let program = Program::new("erl", folder.join("log"))
        .args(["-noinput", "-mnesia", "dir"])
        .arg(format!("\"{}\"", data.display()))
        .args(["-s", "ejabberd", "-eval", ACCOUNTS])
        .env("ERL_LIBS", &path(&libraries))
        .env("EJABBERD_CONFIG_PATH", &path(configuration))
        .env("EJABBERD_LOG_PATH", &path(&data.join("ejabberd.log")))
        // Where it looks for modules of others.
        .env("HOME", &path(data))
        .env("ERL_CRASH_DUMP_BYTES", "0");
    user::run_as(USER, program)
}

/// A certificate that nobody has signed but itself, and its key, as PEM.
fn make_certificate() -> (String, String) {
    let make = || {
        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let mut parts = CertificateParams::new(names)?;
        // Erlang sets a timer for the end, and has none for the year 4096, which is the default.
        parts.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>((parts.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    make().expect("a certificate can be made")
}

/// As the package has it where that concerns two people who chat, but without its shaper, which
/// would hold back who writes more than 3000 bytes a second.
fn configure(port: u16, certificate: &Path) -> String {
    let certificate = certificate.display();
    format!(
        "hosts: [localhost]
loglevel: warning
certfiles: [\"{certificate}\"]
listen:
  - port: {port}
    ip: \"127.0.0.1\"
    module: ejabberd_c2s
    max_stanza_size: 262144
    tls: true
auth_method: internal
auth_password_format: scram
modules:
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster:
    versioning: true
  mod_stream_mgmt:
    resend_on_timeout: if_offline
"
    )
}

/// The folder with its library and those that it needs.
fn libraries() -> Option<PathBuf> {
    let machines = fs::read_dir(LIBRARIES).into_iter().flatten().flatten();
    let mut folders = machines.map(|entry| entry.path());
    folders.find(|folder| {
        let libraries = fs::read_dir(folder).into_iter().flatten().flatten();
        libraries.map(|entry| entry.path()).any(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("ejabberd-"))
                && path.join("ebin/ejabberd.app").is_file()
        })
    })
}
