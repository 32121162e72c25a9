//! `skeind certs`: an authority and a certificate a role, for development and for clusters whose
//! operator has no authority of their own. `certs/README.md` says what to do in production.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use skein_core::time::Timestamp;
use skein_rpc::access::Role;
use thiserror::Error;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority lasts, whatever the certificates do.
const AUTHORITY_DAYS: u32 = 10 * 365;
/// How long before now a certificate begins: a clock may be behind.
const SLACK: Duration = DAY;
/// What the files of the authority are called, before their endings.
const AUTHORITY: &str = "ca";
/// How files with certificates end.
const CERTIFICATE: &str = "crt";
/// How files with keys end.
const KEY: &str = "key";

/// What to make.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder for ca.crt, ca.key and ROLE.crt, ROLE.key of each role
    pub dir: PathBuf,
    /// Another name or address for the certificates, for tools that check those
    #[arg(long, value_name = "HOST")]
    pub san: Vec<String>,
    /// How long the certificates last
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Replace the certificates of the roles, signed by the authority that is there
    #[arg(long)]
    pub force: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Whether there was no authority yet.
    pub new_authority: bool,
    /// When the certificates of the roles end.
    pub not_after: Timestamp,
}

/// Nothing, or not everything, was made. The sentence says what to do.
#[derive(Debug, Error)]
pub enum CertsError {
    /// A file is in the way.
    #[error(
        "{0} is there already: choose another folder, or renew the certificates of the roles with \
         --force, which keeps the authority"
    )]
    Exists(PathBuf),
    /// The authority is there by half.
    #[error("{0} is missing beside its other half; put it back, or choose an empty folder")]
    Half(PathBuf),
    /// The disk refused.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The authority's files are not what they should be, or a name is none.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes the authority, unless it is there, and a certificate with its key for each role.
///
/// # Errors
/// [`CertsError`].
pub fn make(options: &Options, now: Timestamp) -> Result<Made, CertsError> {
    let at = |name: &str, ending: &str| options.dir.join(format!("{name}.{ending}"));
    if !options.force {
        let names = Role::ALL.iter().map(|role| role.name()).chain([AUTHORITY]);
        for path in names.flat_map(|name| [at(name, CERTIFICATE), at(name, KEY)]) {
            if path.exists() {
                return Err(CertsError::Exists(path));
            }
        }
    }
    fs::create_dir_all(&options.dir).map_err(file(&options.dir))?;
    let (authority, authority_key) = (at(AUTHORITY, CERTIFICATE), at(AUTHORITY, KEY));
    let (issuer, new_authority) = match (authority.exists(), authority_key.exists()) {
        (true, true) => {
            let key = KeyPair::from_pem(&read(&authority_key)?)?;
            (Issuer::from_ca_cert_pem(&read(&authority)?, key)?, false)
        }
        (true, false) => return Err(CertsError::Half(authority_key)),
        (false, true) => return Err(CertsError::Half(authority)),
        (false, false) => {
            let (params, key) = (authority_params(now), key()?);
            let certificate = params.self_signed(&key)?;
            write(&authority_key, &key.serialize_pem(), 0o600)?;
            write(&authority, &certificate.pem(), 0o644)?;
            (Issuer::new(params, key), true)
        }
    };
    let not_after = now + DAY * options.days;
    for role in Role::ALL {
        let (params, key) = (role_params(*role, &options.san, now, not_after)?, key()?);
        let certificate = params.signed_by(&key, &issuer)?;
        // The key first: a process that reads between the two finds a pair that does not fit, and
        // goes on with what it had.
        write(&at(role.name(), KEY), &key.serialize_pem(), 0o600)?;
        write(&at(role.name(), CERTIFICATE), &certificate.pem(), 0o644)?;
    }
    Ok(Made { new_authority, not_after })
}

/// What was made, for whoever asked for it.
#[must_use]
pub fn words(options: &Options, made: &Made) -> String {
    let dir = options.dir.display();
    let authority = if made.new_authority {
        format!(
            "Made an authority: {dir}/ca.crt goes to every process; {dir}/ca.key signs, so keep it \
             away from them.\n"
        )
    } else {
        format!("Used the authority of {dir}/ca.crt.\n")
    };
    let roles: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
    format!(
        "{authority}Made a certificate and a key for each of {}, good until {}: {dir}/ROLE.crt and \
         {dir}/ROLE.key.\nNext: give each process its own two files and ca.crt in [rpc] (ca, cert, \
         key), and renew them in time with `skeind certs {dir} --force`.",
        roles.join(", "),
        date(made.not_after).date(),
    )
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Skein cluster authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) =
        (date(now.before(SLACK)), date(now + DAY * AUTHORITY_DAYS));
    params
}

fn role_params(
    role: Role,
    san: &[String],
    now: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = [role.server_name()].into_iter().chain(san.iter().cloned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name(&format!("Skein {role}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date(now.before(SLACK)), date(not_after));
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn date(at: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn read(path: &Path) -> Result<String, CertsError> {
    fs::read_to_string(path).map_err(file(path))
}

/// Writes a file at once, so that a process that watches it never reads half of it.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let draft = path.with_extension("tmp");
    let write = || {
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
        let mut out =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(file(path))
}

fn file(path: &Path) -> impl Fn(io::Error) -> CertsError {
    move |source| CertsError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Arc};

    use skein_core::time::Clock;
    use skein_ops::clock::SystemClock;
    use skein_rpc::{config::Config, credentials::Credentials};

    use super::*;

    fn options(dir: &Path) -> Options {
        Options { dir: dir.to_owned(), san: vec!["127.0.0.1".to_owned()], days: 30, force: false }
    }

    fn loaded(dir: &Path, role: Role) -> Arc<Credentials> {
        let at = |name: &str| dir.join(name);
        let config = Config {
            listen: None,
            ca: at("ca.crt"),
            cert: at(&format!("{role}.crt")),
            key: at(&format!("{role}.key")),
            verify: Vec::new(),
            status: Vec::new(),
            resource: Vec::new(),
        };
        Credentials::load(&config, Arc::new(SystemClock)).expect("usable")
    }

    #[test]
    fn makes_what_the_roles_can_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemClock.now();
        let made = make(&options(dir.path()), now).expect("an empty folder");
        assert!(made.new_authority);
        assert_eq!(made.not_after, now + DAY * 30);
        for role in Role::ALL {
            let credentials = loaded(dir.path(), *role);
            assert!(credentials.roles().contain(*role));
            assert_eq!(credentials.not_after().0 / 1000, made.not_after.0 / 1000);
        }
        let mut modes: Vec<_> = fs::read_dir(dir.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                let path = entry.path();
                let ending = path.extension().expect("an ending").to_owned();
                (ending, entry.metadata().expect("there").permissions().mode() & 0o777)
            })
            .collect();
        modes.sort();
        modes.dedup();
        assert_eq!(modes, [("crt".into(), 0o644), ("key".into(), 0o600)]);
    }

    #[test]
    fn overwrites_nothing_unless_told_to_and_never_the_authority() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemClock.now();
        make(&options(dir.path()), now).expect("an empty folder");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("made");
        let before = [read("ca.crt"), read("ca.key"), read("gate.crt")];
        assert!(matches!(make(&options(dir.path()), now), Err(CertsError::Exists(_))));
        assert_eq!(before, [read("ca.crt"), read("ca.key"), read("gate.crt")]);

        let force = Options { force: true, ..options(dir.path()) };
        let made = make(&force, now).expect("renewed");
        assert!(!made.new_authority);
        assert_eq!(before[..2], [read("ca.crt"), read("ca.key")]);
        assert_ne!(before[2], read("gate.crt"));
        loaded(dir.path(), Role::Gate);

        fs::remove_file(dir.path().join("ca.key")).expect("there");
        assert!(matches!(make(&force, now), Err(CertsError::Half(_))));
    }
}
