//! What a process shows to its peers and accepts from them, read again when the files change: a
//! renewed certificate needs no restart. Connections last an hour at most (`server.rs`), so that soon
//! after a renewal none is left that began with the former one.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::Resumption, server::NoServerSessionStorage,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use skein_core::time::{Clock, Timestamp};
use thiserror::Error;

use crate::{
    access::Roles,
    config::Config,
    handshake::{self, Claims, date, provider},
    metric,
};

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long before its end the process begins to complain about its own certificate.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often it complains from then on.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// HTTP/2, for both sides (RFC 9113, section 3.1).
const ALPN: &[u8] = b"h2";

/// The certificates and the key of one process. Cheap to share.
pub struct Credentials {
    files: [PathBuf; 3],
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

/// A file that cannot be used. The sentence names it.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// It could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{path} holds no usable {what}")]
    Content {
        /// Which file.
        path: String,
        /// Certificate or key.
        what: &'static str,
    },
    /// Certificate and key do not go together, or are of a kind that TLS 1.3 does not know.
    #[error("the certificate {path} cannot be used with its key: {cause}")]
    Pair {
        /// The certificate's file.
        path: String,
        /// What rustls says.
        cause: String,
    },
}

struct Kept {
    loaded: Loaded,
    stamp: Stamp,
    looked: Instant,
    /// When the process last had a reason to look whether the certificate ends soon.
    judged: Timestamp,
}

#[derive(Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    claims: Claims,
}

/// By what a changed file is known: its time and length.
type Stamp = [Option<(SystemTime, u64)>; 3];

impl Credentials {
    /// Reads the files. Blocks for a moment.
    ///
    /// # Errors
    /// [`CredentialsError`]. A certificate that has expired is an error in the log only: the process
    /// may still be called by those whose certificates are good, and the next file may be as well.
    pub fn load(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, CredentialsError> {
        let files = [config.ca.clone(), config.cert.clone(), config.key.clone()];
        let (stamp, loaded) = (stamp(&files), Loaded::read(&files)?);
        let judged = clock.now();
        loaded.complain(judged);
        let kept = Mutex::new(Kept { loaded, stamp, looked: Instant::now(), judged });
        Ok(Arc::new(Self { files, clock, kept }))
    }

    /// The roles that the certificate speaks for.
    #[must_use]
    pub fn roles(&self) -> Roles {
        self.kept().loaded.claims.roles()
    }

    /// When the certificate ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.kept().loaded.claims.not_after
    }

    /// Reads the files again if they have changed. What cannot be used is told in the log, and what
    /// was read before stays.
    pub fn refresh(&self) {
        let stamp = stamp(&self.files);
        if self.kept().stamp == stamp {
            return;
        }
        match Loaded::read(&self.files) {
            Ok(loaded) => {
                let now = self.clock.now();
                loaded.complain(now);
                let until = date(loaded.claims.not_after);
                tracing::info!(certificate.not_after = %until, "read a changed certificate");
                let mut kept = self.kept();
                (kept.loaded, kept.stamp, kept.judged) = (loaded, stamp, now);
            }
            Err(error) => tracing::error!("{error}; the former certificate stays in use"),
        }
    }

    /// What a listener shows and accepts.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.look();
        Arc::clone(&self.kept().loaded.server)
    }

    /// What a caller shows and accepts.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.look();
        Arc::clone(&self.kept().loaded.client)
    }

    fn look(&self) {
        let due = {
            let mut kept = self.kept();
            let due = kept.looked.elapsed() >= LOOK_INTERVAL;
            if due {
                kept.looked = Instant::now();
            }
            due
        };
        if due {
            self.refresh();
        }
        self.judge();
        let left = self.not_after().0.saturating_sub(self.clock.now().0);
        metric::certificate(Duration::from_millis(left));
    }

    /// Complains once a day while the certificate ends soon: a process that runs for months reads
    /// its files once.
    fn judge(&self) {
        let now = self.clock.now();
        let mut kept = self.kept();
        if now >= kept.judged + WARN_INTERVAL {
            kept.judged = now;
            kept.loaded.complain(now);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each use reads or replaces whole fields.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Loaded {
    fn read([ca, cert, key]: &[PathBuf; 3]) -> Result<Self, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(ca)? {
            roots.add(authority).map_err(|_| content(ca, "authority"))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(cert)?;
        let claims = handshake::claims(&chain[0]).ok_or_else(|| content(cert, "certificate"))?;
        let key_der =
            PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| content(key, "private key"))?;
        let pair = |error: &dyn fmt::Display| CredentialsError::Pair {
            path: cert.display().to_string(),
            cause: error.to_string(),
        };
        let no_root = |_| content(ca, "authority");

        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| pair(&error))?
            .with_client_cert_verifier(handshake::of_clients(roots.clone()).map_err(no_root)?)
            .with_single_cert(chain.clone(), key_der.clone_key())
            .map_err(|error| pair(&error))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection shows its certificate anew, so that an expired one is noticed.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});

        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| pair(&error))?
            .dangerous()
            .with_custom_certificate_verifier(handshake::of_servers(roots).map_err(no_root)?)
            .with_client_auth_cert(chain, key_der)
            .map_err(|error| pair(&error))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), claims })
    }

    /// Says in the log that the process's own certificate has ended or soon will.
    fn complain(&self, now: Timestamp) {
        let (names, until) = (self.claims.names.join(", "), date(self.claims.not_after));
        if self.claims.not_after <= now {
            tracing::error!(
                certificate.not_after = %until,
                "the certificate of this process, {names}, expired on {until}: no peer will accept it",
            );
        } else if self.claims.not_after <= now + WARN_BEFORE {
            tracing::warn!(
                certificate.not_after = %until,
                "the certificate of this process, {names}, expires on {until}",
            );
        }
    }
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let pem = read(path)?;
    let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| content(path, "certificate"))
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let path_text = || path.display().to_string();
    fs::read(path).map_err(|source| CredentialsError::File { path: path_text(), source })
}

fn content(path: &Path, what: &'static str) -> CredentialsError {
    CredentialsError::Content { path: path.display().to_string(), what }
}

fn stamp(files: &[PathBuf; 3]) -> Stamp {
    files.each_ref().map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}
