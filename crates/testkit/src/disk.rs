//! A disk that is soon full: a tmpfs of a few megabytes, for tests of what a service does then.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::folder;

/// Mounts, says so, and unmounts when its input ends, which the end of the test process does too.
const KEEPER: &str = r#"mount -t tmpfs -o "size=$2,mode=0777" skein-test "$1" || exit
echo mounted
cat >/dev/null
umount -l "$1""#;

/// What takes the room in [`SmallDisk::fill`].
const BALLAST: &str = "ballast";

/// A mounted disk of a given size. It goes with this value, or with the process.
pub struct SmallDisk {
    path: PathBuf,
    keeper: Child,
}

impl SmallDisk {
    /// Mounts a disk of so many bytes, in whole pages.
    #[must_use]
    pub fn mount(bytes: u64) -> Self {
        let path = folder::new("disk");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([path.as_os_str(), bytes.to_string().as_ref()])
            // A Ctrl-C is for the tests, not for who cleans up after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut said = String::new();
        let stdout = keeper.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("sh speaks text");
        if said != "mounted\n" {
            let mut why = String::new();
            let stderr = keeper.stderr.as_mut().expect("piped");
            stderr.read_to_string(&mut why).expect("sh speaks text");
            panic!("a test of a full disk mounts a small tmpfs; run it as root: {}", why.trim());
        }
        Self { path, keeper }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes so many bytes, to be given back with [`free`](Self::free).
    pub fn take(&self, bytes: usize) {
        fs::write(self.path.join(BALLAST), vec![0; bytes]).expect("there is room");
    }

    /// Takes all the room that there is.
    pub fn fill(&self) {
        let file = fs::File::options().create(true).append(true).open(self.path.join(BALLAST));
        let mut file = file.expect("an empty file takes no room");
        // Page by page, so that none is left.
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk fails otherwise than by being full: {error}"),
            }
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) {
        fs::remove_file(self.path.join(BALLAST)).expect("something was taken");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}
