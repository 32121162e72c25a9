//! What the server says once it is ready: where it listens and what to type next.

use std::{env, net::SocketAddr, path::Path};

use skein_ops::ready::Ready;

use crate::Role;

/// The words for a server with all roles. `client` is the command that starts the client.
fn words(http: &str, quic: SocketAddr, data: &Path, mail: bool, client: &str) -> String {
    let data = data.display();
    let server =
        if http == "http://127.0.0.1:8080" { String::new() } else { format!(" --server {http}") };
    let mail = if mail {
        String::new()
    } else {
        format!("  mail   {data}/mail (no mail server is configured: codes become files there)\n")
    };
    format!(
        "Skein is ready.\n\
         \x20 gate   {http}\n\
         \x20 chat   {quic} (QUIC)\n\
         \x20 data   {data}\n\
         {mail}\n\
         Next, in another terminal:\n\
         \x20 {client} --home alice{server} register alice --email alice@example.org\n\
         \x20 {client} --home bob{server} register bob --email bob@example.org\n\
         \x20 {client} --home alice add bob -m 'Hello, it is me'\n\
         \x20 {client} --home bob accept alice\n\
         \x20 {client} --home bob send alice 'Hi!'\n\
         \x20 {client} --home alice watch\n\
         \n\
         Ctrl-C stops the server."
    )
}

/// What to print when the server is ready. `mail` is whether a mail server is configured.
#[must_use]
pub fn banner(role: Role, ready: &Ready, data: &Path, mail: bool) -> String {
    if let (Role::All, Some(http), Some(quic)) = (role, &ready.http, ready.quic) {
        return words(http, quic, data, mail, &client());
    }
    let addresses = [
        ready.http.as_ref().map(|http| format!("http {http}")),
        ready.quic.map(|quic| format!("quic {quic}")),
        ready.rpc.map(|rpc| format!("rpc {rpc}")),
        ready.observe.map(|observe| format!("observe {observe}")),
    ];
    let addresses: Vec<_> = addresses.into_iter().flatten().collect();
    format!("skeind {role} is ready: {}", addresses.join(", "))
}

/// How the client that was built beside this server is started from here.
fn client() -> String {
    let beside = env::current_exe().ok().map(|path| path.with_file_name("skein"));
    let Some(beside) = beside.filter(|path| path.is_file()) else { return "skein".into() };
    let here = env::current_dir().unwrap_or_default();
    let shown = beside.strip_prefix(&here).unwrap_or(&beside);
    shown.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_server_only_where_the_client_would_not_find_it() {
        let quic = ([127, 0, 0, 1], 4433).into();
        let data = Path::new("data");
        let usual = |mail| words("http://127.0.0.1:8080", quic, data, mail, "skein");
        let other = |mail| words("http://127.0.0.1:9", quic, data, mail, "skein");
        assert!(!usual(false).contains("--server"));
        assert!(usual(false).contains("data/mail"));
        assert!(other(true).contains("--server http://127.0.0.1:9"));
        assert!(!other(true).contains("data/mail"));
    }

    #[test]
    fn a_role_alone_says_where_it_listens() {
        let ready = Ready { rpc: Some(([127, 0, 0, 1], 9).into()), ..Ready::default() };
        let said = banner(Role::Status, &ready, Path::new("data"), true);
        assert_eq!(said, "skeind status is ready: rpc 127.0.0.1:9");
    }
}
