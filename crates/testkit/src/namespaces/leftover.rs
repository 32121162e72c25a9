//! Removes namespaces: those of a lab that is over, and those that killed processes left behind.
//! Names carry the number of the process that they belong to.

use std::{fs, io, path::Path};

use super::run::run;

/// What the names of all namespaces of labs begin with; the number of the owner follows.
pub(super) const PREFIX: &str = "skein-lab-";
/// Where `ip netns exec` looks for files that take the place of those in `/etc`.
pub(super) const FILES: &str = "/etc/netns";

/// Removes the namespaces whose owner is gone. Another process may be at the same, so that
/// something that is gone already is no failure.
pub(super) fn sweep() {
    let Ok(list) = run(&["ip", "netns", "list"], "") else { return };
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if owner(name).is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
            remove(name);
        }
    }
}

/// Ends every process in the namespace and removes it with its files.
pub(super) fn remove(name: &str) {
    if let Ok(processes) = run(&["ip", "netns", "pids", name], "") {
        for process in processes.split_whitespace() {
            // One that has ended meanwhile needs nothing.
            run(&["kill", "-KILL", process], "").ok();
        }
    }
    if let Err(error) = run(&["ip", "netns", "delete", name], "")
        && Path::new("/run/netns").join(name).exists()
    {
        eprintln!("a namespace stays: {error}");
    }
    let files = Path::new(FILES).join(name);
    match fs::remove_dir_all(&files) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("{} stays: {error}", files.display());
        }
        _ => {}
    }
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_labs_have_an_owner() {
        assert_eq!(owner("skein-lab-4711-0-client"), Some(4711));
        for other in ["skein-lab-", "skein-lab-x-0", "skein-4711-0", "office", ""] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
