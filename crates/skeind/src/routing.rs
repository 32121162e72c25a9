//! The chat role's transport secret, and what a load balancer has to be told of it.

use std::path::Path;

use data_encoding::HEXLOWER;
use skein_chat::config::{Config, RoutingForm};
use skein_net::{
    connection_id::{Layout, Routing},
    secret::{Secret, SecretError},
};
use thiserror::Error;

/// Where a node keeps the secret that it makes for itself, in the folder of its certificate.
const SECRET_FILE: &str = "transport.secret";

/// Why connections cannot be named as the configuration says.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The secret cannot be had.
    #[error("chat.secret_file: {0}")]
    Secret(#[from] SecretError),
    /// No load balancer could be told a key that each node makes for itself.
    #[error(
        "chat.routing with encrypted connection ids needs chat.secret_file, the same on all nodes \
         behind the load balancer"
    )]
    Alone,
    /// There is nothing to tell.
    #[error("chat.routing is not configured: connection ids are random and lead nowhere")]
    Unset,
}

/// The configured secret, or the one that the node makes for itself in `folder`.
pub(crate) fn secret(config: &Config, folder: &Path) -> Result<Secret, RoutingError> {
    let encrypted = config.routing.is_some_and(|routing| routing.form == RoutingForm::Encrypted);
    match &config.secret_file {
        Some(path) => Ok(Secret::load(path)?),
        None if encrypted => Err(RoutingError::Alone),
        None => Ok(Secret::kept(&folder.join(SECRET_FILE))?),
    }
}

/// What a load balancer needs to read the connection ids of this node: lines of TOML.
///
/// # Errors
/// [`RoutingError`].
pub fn describe(config: &Config) -> Result<String, RoutingError> {
    let routing = config.routing.ok_or(RoutingError::Unset)?;
    let secret = match (&config.secret_file, routing.form) {
        (Some(path), _) => Secret::load(path)?,
        (None, RoutingForm::Encrypted) => return Err(RoutingError::Alone),
        // Plain ids depend on no secret.
        (None, RoutingForm::Plain) => Secret::passing(),
    };
    let layout = Routing::from(routing).layout(&secret);
    let Layout { server_id_bytes, nonce_bytes, server_id, key } = layout;
    let mut text = format!(
        "rotation = {}\nserver_id_bytes = {server_id_bytes}\nnonce_bytes = {nonce_bytes}\n\
         server_id = \"{}\"\n",
        routing.rotation,
        HEXLOWER.encode(&server_id),
    );
    if let Some(key) = key {
        text.push_str(&format!("key = \"{}\"\n", HEXLOWER.encode(&key)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("a configuration")
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("skein-routing-{name}-{}", std::process::id()))
    }

    #[test]
    fn plain_ids_need_no_secret() {
        let text = describe(&config("routing = { node = 258, form = \"plain\" }"));
        let expected = "rotation = 0\nserver_id_bytes = 8\nnonce_bytes = 8\n\
                        server_id = \"0000000000000102\"\n";
        assert_eq!(text.expect("described"), expected);
        assert!(matches!(describe(&Config::default()), Err(RoutingError::Unset)));
    }

    #[test]
    fn encrypted_ids_need_the_secret_that_all_share() {
        let alone = config("routing = { node = 1 }");
        assert!(matches!(describe(&alone), Err(RoutingError::Alone)));
        let folder = folder("shared");
        assert!(matches!(secret(&alone, &folder), Err(RoutingError::Alone)));

        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("shared.secret");
        fs::write(&file, "a secret that is long enough to be one").expect("written");
        let described = |node, rotation| {
            let routing = format!("routing = {{ node = {node}, rotation = {rotation} }}");
            let text = format!("secret_file = {file:?}\n{routing}");
            describe(&config(&text)).expect("described")
        };
        let key = |text: &str| text.lines().last().expect("a key").to_owned();
        assert!(described(1, 0).contains("server_id = \"0001\"\nkey = \""));
        assert_eq!(key(&described(1, 0)), key(&described(2, 0)));
        assert_ne!(key(&described(1, 0)), key(&described(1, 1)));
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_node_by_itself_makes_its_secret_once() {
        let folder = folder("own");
        secret(&Config::default(), &folder).expect("made");
        let made = fs::read(folder.join(SECRET_FILE)).expect("kept");
        secret(&Config::default(), &folder).expect("kept");
        assert_eq!(fs::read(folder.join(SECRET_FILE)).expect("kept"), made);
        fs::remove_dir_all(&folder).expect("ours");
    }
}
