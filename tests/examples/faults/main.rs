//! Two hundred clients chat and send files over a cluster while its parts fail, one by one; every
//! acknowledged result is written down. After each fault it is compared with what the store has and
//! with what every member's client has: nothing lost, nothing twice, nothing out of order, no gap,
//! each file bit for bit, and none that a client gave up. Clients may see a delay; the longest of
//! each fault is printed.
//!
//! `make faults` is the long form, `faults --short` a part of `make test`.

mod check;
mod fault;
mod ledger;
mod listen;
mod load;
mod people;
mod plan;
mod report;
mod truth;

use std::{error::Error, process::ExitCode, sync::Arc, time::Instant};

use skein_testkit::{
    cluster::{Cluster, Options},
    folder,
};
use tokio::{sync::watch, task::block_in_place};

use self::{
    check::{Checker, Compared},
    fault::{FAULTS, Fault},
    ledger::Ledger,
    listen::Heard,
    plan::Plan,
    report::{Report, Window},
    truth::Store,
};

/// Whatever ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// All clients come from one address here: limits by address would be limits of the test. And a busy
/// machine may take long to end a process in order.
const CONFIG: &str = r#"
[gate]
registration = "open"
[gate.limits]
connections_per_network = 500
logins_per_name_and_network_per_5_minutes = 10000
logins_per_name_per_5_minutes = 10000
logins_per_network_per_5_minutes = 1000000
registrations_per_network_per_hour = 1000000
[chat]
unproven_per_address_max = 1000
drain_seconds = 4
[shutdown]
deadline_seconds = 60
"#;

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match Plan::from_arguments() {
        Ok(plan) => plan,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let (ledger, expected) = (Arc::new(Ledger::default()), plan.expected);
    let started = Instant::now();
    let folder = plan.folder.clone().unwrap_or_else(|| folder::new("faults"));
    let options = Options {
        config: CONFIG.to_owned(),
        folder: Some(folder.join("cluster")),
        ..Options::default()
    };
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    let cluster = block_in_place(|| Cluster::with(&options));
    println!("the cluster is up after {:.1} s", started.elapsed().as_secs_f64());
    let outcome = Run::begin(plan, cluster, folder.clone(), Arc::clone(&ledger)).await;
    let outcome = match outcome {
        Ok(mut run) => run.all().await,
        Err(failure) => Err(failure),
    };
    let mut wrong = std::mem::take(&mut ledger.lock().wrong);
    wrong.extend(outcome.err().map(|failure| failure.to_string()));
    let took = started.elapsed();
    if let Some(expected) = expected.filter(|expected| took > *expected) {
        let (took, expected) = (took.as_secs(), expected.as_secs());
        eprintln!("TOO LONG: the whole run took {took} s, and should take {expected} s at most");
    }
    if wrong.is_empty() {
        println!("PASSED: the whole run took {:.0} s", took.as_secs_f64());
        return ExitCode::SUCCESS;
    }
    for one in &wrong {
        eprintln!("WRONG: {one}");
    }
    let kept = folder::keep(&folder);
    eprintln!("FAILED after {:.0} s; logs: {}", took.as_secs_f64(), kept.display());
    ExitCode::FAILURE
}

/// The load, and what it is held against.
struct Run {
    plan: Plan,
    cluster: Cluster,
    folder: std::path::PathBuf,
    ledger: Arc<Ledger>,
    checker: Checker,
    running: watch::Sender<bool>,
    total: Compared,
    report: Report,
}

impl Run {
    /// Makes the clients, connects them and starts the load.
    async fn begin(
        plan: Plan,
        cluster: Cluster,
        folder: std::path::PathBuf,
        ledger: Arc<Ledger>,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let people = people::invite(&plan, &cluster.http(), &folder.join("homes")).await?;
        let mut heard = Vec::new();
        for person in &people {
            let heard_here = Arc::new(Heard::default());
            let events = person.client.events().await?;
            let (person, ledger) = (Arc::clone(person), Arc::clone(&ledger));
            tokio::spawn(listen::listen(person, events, Arc::clone(&heard_here), ledger));
            heard.push(heard_here);
        }
        for person in &people {
            person.client.connect().await?;
        }
        // Before anybody writes: a device that comes to a conversation late reads its end only.
        for person in &people {
            person.client.caught_up(people::PATIENCE).await?;
        }
        let files = folder.join("files");
        tokio::fs::create_dir_all(&files).await?;
        let (running, runs) = watch::channel(false);
        for person in &people {
            let (every, ledger) = (plan.message_every, Arc::clone(&ledger));
            tokio::spawn(load::chat(Arc::clone(person), every, runs.clone(), ledger));
        }
        // Spread over all accounts.
        for person in people.iter().step_by((people.len() / plan.uploaders).max(1)) {
            let (plan, files) = (plan.clone(), files.clone());
            let (runs, ledger) = (runs.clone(), Arc::clone(&ledger));
            tokio::spawn(load::upload(Arc::clone(person), plan, files, runs, ledger));
        }
        let store = Store::new(cluster.database());
        let checker =
            Checker { ledger: Arc::clone(&ledger), store, people, heard, files_compared: 0 };
        println!(
            "{} clients of {} accounts in {} conversations after {:.1} s",
            checker.people.len(),
            plan.accounts,
            plan.accounts / 2,
            started.elapsed().as_secs_f64()
        );
        let (total, report) = (Compared::default(), Report::default());
        Ok(Self { plan, cluster, folder, ledger, checker, running, total, report })
    }

    /// Every fault, one after the other.
    async fn all(&mut self) -> Result<(), Failure> {
        Report::head();
        let only = self.plan.only.clone().unwrap_or_default();
        for fault in FAULTS.iter().filter(|fault| fault.name.contains(&only)) {
            self.one(fault).await.map_err(|failure| format!("{}: {failure}", fault.name))?;
            if !self.ledger.lock().wrong.is_empty() {
                return Err(format!("during: {}", fault.name).into());
            }
        }
        let total = self.total;
        println!(
            "compared: {} acknowledged messages, {} entries in the store, {} entries at clients, \
             {} files with {} MiB",
            total.acknowledged,
            total.stored,
            total.heard,
            total.files,
            total.file_bytes >> 20
        );
        println!("lost 0, twice 0, out of order 0, gaps 0, files that differ or were given up 0");
        self.report.drains();
        Ok(())
    }

    async fn one(&mut self, fault: &Fault) -> Result<(), Failure> {
        let before = self.total;
        self.ledger.begin();
        self.running.send_replace(true);
        block_in_place(|| (fault.make)(&mut self.cluster, &self.plan, &self.ledger))?;
        tokio::time::sleep(self.plan.afterwards).await;
        self.running.send_replace(false);
        self.checker.settle().await?;
        let mut window = Window::of(&self.ledger.lock());
        let compared = self.checker.compare(&self.folder).await?;
        self.total = Compared {
            files: before.files + compared.files,
            file_bytes: before.file_bytes + compared.file_bytes,
            ..compared
        };
        window.messages = compared.acknowledged - before.acknowledged;
        window.files = compared.files;
        if window.given_up > 0 {
            self.ledger.wrong(format!("{} files were given up by their clients", window.given_up));
        }
        self.report.add(fault.name, window);
        Ok(())
    }
}
