//! The certificate that a listener shows, and its key.
//!
//! A self-signed one is made so that browsers accept it by fingerprint too: ECDSA P-256 and valid
//! for at most 14 days (W3C WebTransport, "custom certificate requirements").

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use skein_core::{port::directory::Trust, time::Timestamp};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::file::{self, FileError};

/// How long a self-signed certificate is valid: a day less than the 14 that browsers allow, which
/// leaves room for a clock that is behind.
pub const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(13 * 24 * 60 * 60);

/// How long before its end a self-signed certificate is replaced.
pub const SELF_SIGNED_RENEWAL: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// The self-made key and certificate, in one file: whatever moment a crash chooses, they match.
const SELF_SIGNED_FILE: &str = "chat.pem";

/// A certificate chain with its key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    not_after: Timestamp,
}

/// Where a listener's certificate comes from, so that it can be looked at again.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Made here, and trusted by its fingerprint.
    SelfSigned {
        /// Where it is kept.
        folder: PathBuf,
        /// Names that it is made for.
        names: Vec<String>,
    },
    /// Issued by an authority that clients trust, and renewed by whoever put it there.
    Issued {
        /// The chain, in PEM.
        certificate: PathBuf,
        /// The key, in PEM.
        key: PathBuf,
        /// The name in the certificate by which clients know the server.
        server_name: String,
    },
}

impl Certificate {
    /// The identity as it is now; a self-signed one is made or renewed when that is due.
    ///
    /// # Errors
    /// [`IdentityError`] with the file that is at fault.
    pub fn load(&self, now: Timestamp) -> Result<Identity, IdentityError> {
        match self {
            Self::SelfSigned { folder, names } => Identity::self_signed(folder, names, now),
            Self::Issued { certificate, key, .. } => Identity::load(certificate, key),
        }
    }

    /// What makes `identity` trustworthy to a client.
    #[must_use]
    pub fn trust(&self, identity: &Identity) -> Trust {
        match self {
            Self::SelfSigned { .. } => Trust::Fingerprints(vec![identity.fingerprint()]),
            Self::Issued { server_name, .. } => {
                Trust::Authority { server_name: server_name.clone() }
            }
        }
    }
}

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{path} holds no usable {what}")]
    Content {
        /// Which file.
        path: String,
        /// Certificate or key.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Identity {
    /// The identity in two PEM files, as an authority issued it.
    ///
    /// # Errors
    /// [`IdentityError`] with the file that is at fault.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain_pem = file::read(certificate)?;
        let no_certificate = || content(certificate, "certificate");
        let chain = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificate())?;
        let leaf = chain.first().ok_or_else(no_certificate)?;
        let not_after = not_after(leaf).ok_or_else(no_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&file::read(key)?)
            .map_err(|_| content(key, "private key"))?;
        Ok(Self { chain, key, not_after })
    }

    /// The self-signed identity kept in `folder`, made anew when there is none that can be used or
    /// when it ends within [`SELF_SIGNED_RENEWAL`]. What is kept is readable by its owner only.
    ///
    /// # Errors
    /// [`IdentityError`] with the file that is at fault.
    pub fn self_signed(
        folder: &Path,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        file::folder(folder)?;
        let pem = folder.join(SELF_SIGNED_FILE);
        match if_usable(Self::load(&pem, &pem))? {
            Some(kept) if now + SELF_SIGNED_RENEWAL < kept.not_after => Ok(kept),
            _ => {
                file::write_private(&pem, make(names, now)?.as_bytes())?;
                Self::load(&pem, &pem)
            }
        }
    }

    /// SHA-256 of the certificate, as in WebTransport's `serverCertificateHashes`.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.chain.first().map_or([0; 32], |leaf| fingerprint(leaf))
    }

    /// When the certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// SHA-256 of a certificate.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

/// `None` for a file that is not there, or does not hold what it should and may be replaced.
fn if_usable(loaded: Result<Identity, IdentityError>) -> Result<Option<Identity>, IdentityError> {
    match loaded {
        Ok(loaded) => Ok(Some(loaded)),
        Err(IdentityError::Content { .. }) => Ok(None),
        Err(IdentityError::File(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A certificate and its key, in PEM.
fn make(names: &[String], now: Timestamp) -> Result<String, IdentityError> {
    // A clock that is a little behind must not find the certificate "not yet valid".
    let slack = Duration::from_secs(60 * 60);
    let mut params = CertificateParams::new(names)?;
    params.not_before = date(now.before(slack));
    params.not_after = date(now.before(slack) + SELF_SIGNED_LIFETIME);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Skein self-signed");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn date(at: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = parse_x509_certificate(certificate.as_ref()).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(Timestamp(seconds.saturating_mul(1000)))
}

fn content(path: &Path, what: &'static str) -> IdentityError {
    IdentityError::Content { path: path.display().to_string(), what }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn with_folder(name: &str, work: impl FnOnce(&Path)) {
        let name = format!("skein-identity-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        work(&folder);
        fs::remove_dir_all(&folder).expect("ours");
    }

    fn load(folder: &Path, now: Timestamp) -> Identity {
        Identity::self_signed(folder, &["localhost".to_owned()], now).expect("an identity")
    }

    #[test]
    fn is_kept_until_renewal_is_due() {
        with_folder("kept", |folder| {
            let first = load(folder, NOW);
            assert_eq!(first.fingerprint(), load(folder, NOW).fingerprint());
            assert!(first.not_after() <= NOW + SELF_SIGNED_LIFETIME);

            let due = NOW + SELF_SIGNED_LIFETIME.saturating_sub(SELF_SIGNED_RENEWAL);
            let renewed = load(folder, due);
            assert_ne!(first.fingerprint(), renewed.fingerprint());

            let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file"));
            let modes: Vec<_> = files
                .map(|file| file.metadata().expect("there").permissions().mode() & 0o777)
                .collect();
            assert_eq!(modes, [0o600], "no draft is left, and none is for others");
        });
    }

    #[test]
    fn is_made_anew_when_a_crash_left_it_unusable() {
        with_folder("crash", |folder| {
            let first = load(folder, NOW);
            let pem = folder.join(SELF_SIGNED_FILE);
            let whole = fs::read(&pem).expect("kept");
            for (length, draft) in [(0, ""), (whole.len() / 3, "half"), (whole.len() - 40, "")] {
                fs::write(&pem, &whole[..length]).expect("cut");
                fs::write(pem.with_extension("tmp"), draft).expect("a draft");
                let anew = load(folder, NOW);
                assert_ne!(first.fingerprint(), anew.fingerprint(), "{length}");
                assert_eq!(anew.fingerprint(), load(folder, NOW).fingerprint(), "{length}");
            }
        });
    }

    #[test]
    fn a_folder_that_refuses_is_an_error_and_not_a_new_identity() {
        with_folder("refuses", |folder| {
            fs::create_dir_all(folder.join(SELF_SIGNED_FILE)).expect("in the way");
            let refused = Identity::self_signed(folder, &["localhost".to_owned()], NOW);
            assert!(matches!(refused.err(), Some(IdentityError::File { .. })));
        });
    }
}
