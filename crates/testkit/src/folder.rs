//! One temporary folder for everything that the servers of this process keep.
//!
//! A server that is shared by the tests of a process is never dropped, so its folder would stay. A
//! janitor, which is a shell that waits for its input to end, removes the folder when this process
//! is gone, however it ended.

use std::{
    env, fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    sync::atomic::{AtomicU32, Ordering},
};

/// What the janitor runs: servers die with this process too, but may still be writing when it
/// looks.
const JANITOR: &str = r#"cat >/dev/null
[ -f "$1/elsewhere" ] && xargs rm -f -- <"$1/elsewhere"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    rm -rf -- "$1" 2>/dev/null && exit
    sleep 0.2
done"#;

/// Set to keep the folder, for looking at the logs. `skeind` takes what begins with `SKEIN_` for its
/// configuration, and refuses what it does not know.
const KEEP_VARIABLE: &str = "KEEP_TESTS";

struct Root {
    path: PathBuf,
    /// The janitor acts when this is closed, which the end of the process does.
    _janitor: Option<(Child, ChildStdin)>,
}

/// A new folder inside this process's, which others may enter: PostgreSQL is another user.
#[must_use]
pub fn new(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{name}-{number}"));
    fs::create_dir(&path).expect("the temporary folder takes folders");
    open_to_all(&path);
    path
}

/// Has the janitor leave a folder of this process's, for looking at it; gives where it is from now
/// on.
pub fn keep(folder: &Path) -> PathBuf {
    let Ok(inside) = folder.strip_prefix(root()) else { return folder.to_owned() };
    let mut kept = root().as_os_str().to_owned();
    kept.push("-kept");
    let kept = PathBuf::from(kept);
    fs::create_dir_all(&kept).expect("the temporary folder takes folders");
    let to = kept.join(inside.iter().collect::<Vec<_>>().join("-".as_ref()));
    fs::rename(folder, &to).expect("a folder can be moved within its file system");
    to
}

/// Has the janitor remove a file that a server will put outside of its folder.
pub fn remove_too(path: &str) {
    let list = root().join("elsewhere");
    let file = fs::File::options().create(true).append(true).open(list);
    writeln!(file.expect("the folder is ours"), "{path}").expect("the folder is ours");
}

/// This process's folder. It goes with the process, unless `KEEP_TESTS` is set.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: OnceLock<Root> = OnceLock::new();
    &ROOT.get_or_init(make).path
}

fn make() -> Root {
    let kept = tempfile::Builder::new().prefix("skein-").tempdir();
    let path = kept.expect("the temporary folder takes folders").keep();
    open_to_all(&path);
    if env::var_os(KEEP_VARIABLE).is_some() {
        eprintln!("{KEEP_VARIABLE} is set: what the servers write stays in {}", path.display());
        return Root { path, _janitor: None };
    }
    let mut janitor = Command::new("sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(&path)
        // A Ctrl-C is for the tests, not for who cleans up after them.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let stdin = janitor.stdin.take().expect("piped");
    Root { path, _janitor: Some((janitor, stdin)) }
}

fn open_to_all(path: &Path) {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).expect("the folder is ours");
}
