//! The certificates that the configuration names: whether they can be read, whom they speak for,
//! and how long they last.

use std::{fs, path::Path, time::Duration};

use skein_core::time::Timestamp;
use skein_rpc::access::{Role, Roles};
use x509_parser::{extensions::GeneralName, pem::Pem};

use super::{Finding, Verdict};
use crate::Config;

/// How long before its end a certificate is worth a word.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What of a certificate matters here.
struct Seen {
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Looks at all of them. Those that a server makes for itself it also renews.
pub(super) fn examine(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(rpc) = &config.rpc {
        findings.extend(chain("rpc.ca", &rpc.ca, now).1);
        let (names, found) = chain("rpc.cert", &rpc.cert, now);
        findings.extend(found);
        findings.extend(names.map(|names| roles(&names)));
        findings.push(private("rpc.key", &rpc.key));
    }
    for (key, certificate) in
        [("gate.tls_cert", &config.gate.tls_cert), ("chat.tls_cert", &config.chat.tls_cert)]
    {
        if let Some(path) = certificate {
            findings.extend(chain(key, path, now).1);
        }
    }
    let (store, bus) = (config.store.as_ref(), config.bus.as_ref());
    let (blobs, smtp) = (config.blobs.as_ref(), config.verify.smtp.as_ref());
    for (key, authority) in [
        ("store.tls_ca", store.and_then(|store| store.tls_ca.as_deref())),
        ("bus.tls_ca", bus.and_then(|bus| bus.tls_ca.as_deref())),
        ("blobs.tls_ca", blobs.and_then(|blobs| blobs.tls_ca.as_deref())),
        ("verify.smtp.ca", smtp.and_then(|smtp| smtp.ca.as_deref())),
    ] {
        findings.extend(authority.map(|path| authorities(key, path, now)));
    }
    for (key, file) in [
        ("gate.tls_key", &config.gate.tls_key),
        ("chat.tls_key", &config.chat.tls_key),
        ("chat.secret_file", &config.chat.secret_file),
    ] {
        if let Some(path) = file {
            findings.push(private(key, path));
        }
    }
    findings
}

/// Looks at a file with certificates: the names of the first, and what there is to say of each.
fn chain(key: &str, path: &Path, now: Timestamp) -> (Option<Vec<String>>, Vec<Finding>) {
    let seen = match read(key, path) {
        Ok(seen) => seen,
        Err(finding) => return (None, vec![finding]),
    };
    let findings = seen.iter().map(|seen| lasts(key, path, seen, now)).collect();
    (seen.into_iter().next().map(|first| first.names), findings)
}

/// Looks at a file with the authorities of a part, any of which may be the one that it needs. The
/// first that ends is told of, unless it is over and others are left.
fn authorities(key: &str, path: &Path, now: Timestamp) -> Finding {
    let mut seen = match read(key, path) {
        Ok(seen) => seen,
        Err(finding) => return finding,
    };
    let is_valid = |one: &Seen| one.not_before <= now && now < one.not_after;
    seen.sort_by_key(|one| (!is_valid(one), one.not_after));
    let found = lasts(key, path, &seen[0], now);
    match found.verdict {
        Verdict::Ok => found,
        _ => Finding {
            mend: Some(format!("put the authority that signs now into {}", path.display())),
            ..found
        },
    }
}

/// The certificates in a file, of which there is one at least.
fn read(key: &str, path: &Path) -> Result<Vec<Seen>, Finding> {
    let shown = path.display();
    let mend = "name a PEM file with certificates (see certs/README.md)";
    let bytes =
        fs::read(path).map_err(|error| Finding::fail(key, format!("{shown}: {error}"), mend))?;
    let seen: Vec<Seen> = Pem::iter_from_buffer(&bytes)
        .filter_map(Result::ok)
        .filter(|pem| pem.label == "CERTIFICATE")
        .filter_map(|pem| see(&pem))
        .collect();
    if seen.is_empty() {
        return Err(Finding::fail(key, format!("{shown} holds no certificate"), mend));
    }
    Ok(seen)
}

fn see(pem: &Pem) -> Option<Seen> {
    let certificate = pem.parse_x509().ok()?;
    let names = certificate.subject_alternative_name().ok()?.map(|names| {
        let dns = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        dns.collect()
    });
    let at = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let validity = certificate.validity();
    Some(Seen {
        names: names.unwrap_or_default(),
        not_before: at(validity.not_before.timestamp()),
        not_after: at(validity.not_after.timestamp()),
    })
}

fn lasts(key: &str, path: &Path, seen: &Seen, now: Timestamp) -> Finding {
    let shown = path.display();
    let days = |span: Duration| span.as_secs() / (24 * 60 * 60);
    let renew = "renew it (`skeind certs DIR --force` for those that it made)";
    if now < seen.not_before {
        let begins = days(seen.not_before.since(now)) + 1;
        let found = format!("{shown} is not valid yet; it will be within {begins} days");
        return Finding::fail(key, found, "look at this machine's clock, or at who made it");
    }
    if now >= seen.not_after {
        let found = format!("{shown} has expired {} days ago", days(now.since(seen.not_after)));
        return Finding::fail(key, found, renew);
    }
    let left = seen.not_after.since(now);
    let found = format!("{shown} is valid for {} more days", days(left));
    if left < WARN_BEFORE { Finding::warn(key, found, renew) } else { Finding::ok(key, found) }
}

fn roles(names: &[String]) -> Finding {
    let roles = Roles::of_names(names.iter().map(String::as_str));
    if Role::ALL.iter().any(|role| roles.contain(*role)) {
        return Finding::ok("rpc.cert", format!("it speaks for {roles}"));
    }
    let mend = "make it with a name such as chat.skein.internal (see certs/README.md)";
    Finding::fail("rpc.cert", "it speaks for no role, so that no peer accepts it", mend)
}

fn private(key: &str, path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) => {
            let mend = "name a file that the server's user may read";
            Finding::fail(key, format!("{shown}: {error}"), mend)
        }
        Ok(metadata) if metadata.permissions().mode() & 0o007 != 0 => {
            let found = format!("{shown} can be read by every user");
            Finding::warn(key, found, format!("chmod o= {shown}"))
        }
        Ok(_) => Finding::ok(key, format!("{shown} is kept from other users")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn tells_how_long_a_certificate_lasts() {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let seen = Seen {
            names: Vec::new(),
            not_before: Timestamp(100 * DAY_MS),
            not_after: Timestamp(200 * DAY_MS),
        };
        for (day, verdict) in [
            (99, Verdict::Fail),
            (100, Verdict::Ok),
            (186, Verdict::Ok),
            (187, Verdict::Warn),
            (200, Verdict::Fail),
        ] {
            let found = lasts("rpc.cert", Path::new("a.crt"), &seen, Timestamp(day * DAY_MS));
            assert_eq!(found.verdict, verdict, "{day}: {}", found.found);
        }
    }

    #[test]
    fn reads_a_certificate_and_whom_it_speaks_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.crt");
        let write = |name: &str| {
            let made =
                rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
            fs::write(&path, made.cert.pem()).expect("ours");
            let (names, findings) = chain("rpc.cert", &path, Timestamp(1_800_000_000_000));
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].verdict, Verdict::Ok, "{findings:?}");
            roles(&names.expect("a name"))
        };
        let chat = write("chat.skein.internal");
        assert_eq!((chat.verdict, chat.found.as_str()), (Verdict::Ok, "it speaks for chat"));
        assert_eq!(write("chat.example.org").verdict, Verdict::Fail);
        // As an authority of each part that may have one.
        let ca = Some(path.clone());
        let store = skein_store::postgres::Config {
            tls_ca: ca.clone(),
            ..skein_store::postgres::Config::new("postgres://db")
        };
        let bus = skein_bus::redis::Config { tls_ca: ca, ..Default::default() };
        let mut config = Config { store: Some(store), bus: Some(bus), ..Config::default() };
        let verdicts = |config: &Config, now| {
            let found = examine(config, Timestamp(now));
            let each = found.into_iter().map(|finding| (finding.check, finding.verdict));
            each.collect::<Vec<_>>()
        };
        let both = |verdict| vec![("store.tls_ca".into(), verdict), ("bus.tls_ca".into(), verdict)];
        assert_eq!(verdicts(&config, 1_800_000_000_000), both(Verdict::Ok));
        assert_eq!(verdicts(&config, 0), both(Verdict::Fail), "it is not valid yet");
        config.store = None;
        config.bus.as_mut().expect("there").tls_ca = Some(PathBuf::from("/nowhere"));
        assert_eq!(verdicts(&config, 0), [("bus.tls_ca".to_owned(), Verdict::Fail)]);
        fs::write(&path, "nothing").expect("ours");
        assert_eq!(chain("rpc.cert", &path, Timestamp(0)).1[0].verdict, Verdict::Fail);
    }
}
