//! Starts a whole cluster on this machine, prints what to type, and stops it with Ctrl-C:
//! `cluster [--folder DIR]`. `make cluster` builds and runs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use skein_testkit::{
    binaries::binary,
    cluster::{Cluster, Options, names},
    folder,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::block_in_place,
};

/// How long each process may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let kept = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--folder", folder] => Some(PathBuf::from(folder)),
        _ => {
            eprintln!("usage: cluster [--folder DIR]");
            return ExitCode::from(2);
        }
    };
    let folder = kept.clone().unwrap_or_else(|| folder::new("cluster"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let folder = folder.canonicalize().expect("the folder is there");
    println!("starting PostgreSQL, Redis, S3, SMTP and {} Skein processes ...", names().len());
    let options = Options { folder: Some(folder.clone()), ..Options::default() };
    let mut cluster = block_in_place(|| Cluster::with(&options));
    println!("{}", what_to_type(&cluster, &folder));

    // Whether or not the signal can be waited for, the cluster is stopped.
    let waited = told_to_end().await;
    println!("\nstopping ...");
    block_in_place(|| cluster.shut_down(SHUTDOWN_MAX));
    drop(cluster);
    match kept {
        Some(_) => println!("stopped; everything it had is in {}", folder.display()),
        None => println!("stopped; nothing is left of it"),
    }
    if waited.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for Ctrl-C or SIGTERM.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminated.recv() => Ok(()),
    }
}

/// From two people who register to a node that is drained, for copying.
fn what_to_type(cluster: &Cluster, folder: &Path) -> String {
    let skein = binary("skein");
    let skeind = binary("skeind");
    let (skein, skeind, folder) = (skein.display(), skeind.display(), folder.display());
    let http = cluster.http();
    let admin = cluster.config_file("admin-1");
    let admin = admin.display();
    let metrics = cluster.address("chat-1", "observe");
    let database = cluster.database();
    let s3 = cluster.s3.endpoint();
    let inbox = cluster.mail.inbox().display();
    format!(
        "
The cluster is up. Its gate is {http}
Data, configuration and logs: {folder}/*/   (each process: data, skein.toml, log)

In another terminal, two people register with codes that are mailed to them:

    export SKEIN_SERVER={http}
    alice() {{ {skein} --home {folder}/alice \"$@\"; }}
    bob() {{ {skein} --home {folder}/bob \"$@\"; }}
    admin() {{ {skeind} --config {admin} admin \"$@\"; }}
    code() {{ cat \"$(ls {inbox}/*.eml | tail -n 1)\" | tr -d '\\r' | grep -oE '^ +[0-9]{{6}}$'; }}
    password='correct horse battery staple'
    echo \"$password\" | alice register alice --email alice@example.org --password-stdin
    sleep 1
    echo \"$password\" | alice register alice --email alice@example.org --password-stdin --code $(code)
    echo \"$password\" | bob register bob --email bob@example.org --password-stdin
    sleep 1
    echo \"$password\" | bob register bob --email bob@example.org --password-stdin --code $(code)

They chat, and one sends a picture:

    alice add bob -m 'Hello, it is me'
    bob accept alice
    alice send bob 'Look what I saw today'
    head -c 3000000 /dev/urandom > {folder}/geese.jpg
    alice send bob --file {folder}/geese.jpg
    bob log alice
    bob get alice 2 -o {folder}/copy.jpg
    cmp {folder}/geese.jpg {folder}/copy.jpg && echo the same

Bob stays, and his node goes: nothing is lost, and he notices nothing.

    bob watch &
    admin nodes
    admin drain chat-1 --over 5s
    admin drain chat-2 --over 5s
    alice send bob 'Are you still there?'

What there is to look at:

    curl http://{metrics}/metrics
    psql {database}
    {s3}  (S3; the keys are in {admin})

Ctrl-C here stops everything.
"
    )
}
