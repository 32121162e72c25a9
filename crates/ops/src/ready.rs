//! The file that tells a script where the server listens, once everything accepts.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::Serialize;

/// What the ready file holds: what a process listens for, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// The gate's URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The chat server's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quic: Option<SocketAddr>,
    /// Where other roles call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc: Option<SocketAddr>,
    /// Where operators look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe: Option<SocketAddr>,
}

impl Ready {
    /// Removes the file of an earlier server, which would tell of this one before it is ready.
    ///
    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn clear(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the file so that a reader sees all of it or nothing.
    ///
    /// # Errors
    /// If the file cannot be written or renamed.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".tmp");
        fs::write(&draft, serde_json::to_vec(self)?)?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_json_with_the_addresses_that_there_are() {
        let ready = Ready {
            http: Some("http://127.0.0.1:1".into()),
            quic: Some(SocketAddr::from(([127, 0, 0, 1], 2))),
            ..Ready::default()
        };
        let path = std::env::temp_dir().join(format!("skein-ready-{}.json", std::process::id()));
        ready.write(&path).expect("the temporary folder takes files");
        let text = fs::read_to_string(&path).expect("the file is there");
        Ready::clear(&path).expect("the file is ours");
        assert!(!path.exists());
        Ready::clear(&path).expect("nothing to remove");
        assert_eq!(text, r#"{"http":"http://127.0.0.1:1","quic":"127.0.0.1:2"}"#);
    }
}
