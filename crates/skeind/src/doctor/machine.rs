//! This machine: buffers of the network, open files, the data folder.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use skein_ops::disk;

use super::Finding;
use crate::{Config, folder};

/// Bytes of socket buffers that the chat role asks for.
const UDP_BUFFER_BYTES: u64 = skein_net::transport::SOCKET_BUFFER_BYTES as u64;
/// Open files that a server needs at least: streams over QUIC share one socket, but HTTP, roles,
/// the database and uploads have one each.
const OPEN_FILES_MIN: u64 = 4096;
/// Free bytes below which the disk will soon be full.
const FREE_BYTES_WARN: u64 = 1024 * 1024 * 1024;

/// Looks at all of it.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        udp_buffer("net.core.rmem_max", "/proc/sys/net/core/rmem_max"),
        udp_buffer("net.core.wmem_max", "/proc/sys/net/core/wmem_max"),
        open_files(),
    ];
    findings.extend(data(&config.data));
    findings
}

fn udp_buffer(name: &str, path: &str) -> Finding {
    let allowed = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match allowed {
        None => Finding::ok(name, "this system does not say"),
        Some(bytes) if bytes >= UDP_BUFFER_BYTES => {
            Finding::ok(name, format!("buffers of {bytes} bytes are allowed"))
        }
        Some(bytes) => Finding::warn(
            name,
            format!("buffers of {bytes} bytes are allowed; bursts of packets may be lost"),
            format!("as root: sysctl -w {name}={UDP_BUFFER_BYTES}, and the same in /etc/sysctl.d"),
        ),
    }
}

fn open_files() -> Finding {
    let check = "open files";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match soft_limit(&limits) {
        None => Finding::ok(check, "this system does not say, or has no limit"),
        Some(limit) if limit >= OPEN_FILES_MIN => {
            Finding::ok(check, format!("{limit} are allowed"))
        }
        Some(limit) => Finding::warn(
            check,
            format!("{limit} are allowed; {OPEN_FILES_MIN} or more are good for many clients"),
            "ulimit -n 65536 before the start, or LimitNOFILE=65536 in the systemd unit",
        ),
    }
}

/// The line looks like `Max open files            1024                 4096                 files`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn data(folder: &Path) -> Vec<Finding> {
    let check = "data";
    let shown = folder.display();
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Finding::ok(check, format!("{shown} will be made at the first start"))];
        }
        Err(error) => {
            let mend = "run this as the user that runs the server, or name another folder";
            return vec![Finding::fail(check, format!("{shown}: {error}"), mend)];
        }
    };
    if !metadata.is_dir() {
        let mend = "name a folder with --data or in the configuration";
        return vec![Finding::fail(check, format!("{shown} is no folder"), mend)];
    }
    let mode = metadata.permissions().mode() & 0o777;
    let access = if mode & 0o077 == 0 {
        Finding::ok(check, format!("{shown} is for its owner only"))
    } else {
        let found = format!("{shown} is open to other users (mode {mode:o})");
        Finding::warn(check, found, format!("chmod 700 {shown}"))
    };
    let mut findings = vec![access, writes(check, folder)];
    let staging = folder::staging(folder);
    if staging.exists() {
        findings.push(writes("staging", &staging));
    }
    findings.push(free(folder));
    findings
}

/// Makes a file and removes it: permissions, a file system that is read-only and a full disk all
/// show by that.
fn writes(check: &str, folder: &Path) -> Finding {
    let probe = folder.join(format!("doctor-{:016x}", rand::random::<u64>()));
    let made = File::create_new(&probe).and_then(|mut file| {
        let written = file.write_all(b"probe").and_then(|()| file.sync_all());
        drop(file);
        written.and(fs::remove_file(&probe))
    });
    let shown = folder.display();
    match made {
        Ok(()) => Finding::ok(check, format!("{shown} takes files")),
        Err(error) => {
            let mend = "run this as the user that runs the server; let it own the folder (chown), on \
                        a file system that is writable and not full";
            Finding::fail(check, format!("{shown} takes no files: {error}"), mend)
        }
    }
}

fn free(folder: &Path) -> Finding {
    let check = "disk";
    let bytes = match disk::free_bytes(folder) {
        Ok(bytes) => bytes,
        Err(error) => return Finding::ok(check, format!("this system does not say: {error}")),
    };
    let found = disk::words(bytes, folder);
    let mend = "make room; what cannot be stored is refused until there is some";
    if bytes < disk::FREE_BYTES_MIN {
        Finding::fail(check, found, mend)
    } else if bytes < FREE_BYTES_WARN {
        Finding::warn(check, found, mend)
    } else {
        Finding::ok(check, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn reads_the_limit_of_open_files() {
        let limits =
            "Limit  Soft Limit\nMax open files            1024        524288       files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files  unlimited  unlimited  files"), None);
    }

    #[test]
    fn sees_who_may_read_the_data() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let verdict = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("ours");
            data(folder.path())[0].verdict
        };
        assert_eq!((verdict(0o700), verdict(0o755)), (Verdict::Ok, Verdict::Warn));
        assert_eq!(data(&folder.path().join("none"))[0].verdict, Verdict::Ok);
        assert!(fs::read_dir(folder.path()).expect("ours").next().is_none(), "no probe is left");
        fs::create_dir(folder.path().join("staging")).expect("ours");
        let checks: Vec<_> = data(folder.path()).into_iter().map(|found| found.check).collect();
        assert_eq!(checks, ["data", "data", "staging", "disk"]);
        assert_eq!(writes("data", &folder.path().join("none")).verdict, Verdict::Fail);
        let file = folder.path().join("file");
        fs::write(&file, "").expect("ours");
        assert_eq!(data(&file)[0].verdict, Verdict::Fail);
    }
}
