//! The faults, one by one.

use std::time::{Duration, Instant};

use skein_testkit::{cluster::Cluster, process::patiently};

use crate::{
    Failure,
    ledger::Ledger,
    plan::{DRAIN_SETTLES, Plan},
};

/// A window without a fault that the one after it is compared with.
pub(crate) const UNDISTURBED: &str = "none, before a drain";
/// What is compared with that.
pub(crate) const DRAINED: &str = "node drained";

/// A fault: what it is called, and how it is done. Each ends with everything running again.
pub(crate) struct Fault {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Makes it happen, and mends it. Blocks.
    pub(crate) make: fn(&mut Cluster, &Plan, &Ledger) -> Result<(), Failure>,
}

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "none", make: nothing },
    Fault { name: "chat killed", make: kill_chat },
    Fault { name: "chat frozen", make: freeze_chat },
    Fault { name: "redis killed, back empty", make: kill_redis },
    Fault { name: "postgres restarted", make: restart_postgres },
    Fault { name: "postgres crashed", make: crash_postgres },
    Fault { name: "s3 away", make: stop_s3 },
    Fault { name: "resource killed", make: kill_resource },
    Fault { name: "status killed", make: kill_status },
    // In pairs, since one window says little: whatever else the machine does may fall into it.
    Fault { name: UNDISTURBED, make: nothing },
    Fault { name: DRAINED, make: |cluster, plan, _| drain(cluster, plan, "chat-3") },
    Fault { name: UNDISTURBED, make: nothing },
    Fault { name: DRAINED, make: |cluster, plan, _| drain(cluster, plan, "chat-2") },
    Fault { name: UNDISTURBED, make: nothing },
    Fault { name: DRAINED, make: |cluster, plan, _| drain(cluster, plan, "chat-1") },
];

/// How often a resource process is killed at most, until an upload had to go on elsewhere.
const RESOURCE_KILLS_MAX: usize = 12;
/// Uploads that are in their middle when a resource process is killed.
const UPLOADS_KILLED_MIN: usize = 2;
/// How long those may take to be under way.
const UNDER_WAY_MAX: Duration = Duration::from_secs(180);

fn nothing(_: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    pause(plan.window());
    Ok(())
}

fn kill_chat(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    let nodes = cluster.names_of("chat");
    for round in 0..plan.chat_kills {
        let name = &nodes[round % nodes.len()];
        cluster.kill(name);
        pause(plan.away);
        cluster.restart(name);
        pause(plan.afterwards);
    }
    Ok(())
}

fn freeze_chat(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.freeze("chat-2");
    pause(plan.frozen);
    cluster.thaw("chat-2");
    Ok(())
}

fn kill_redis(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.redis.kill();
    pause(plan.away);
    cluster.redis.resume();
    Ok(())
}

fn restart_postgres(cluster: &mut Cluster, _: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.postgres.restart();
    Ok(())
}

fn crash_postgres(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.postgres.crash();
    pause(plan.away);
    cluster.postgres.resume();
    Ok(())
}

fn stop_s3(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.s3.stop();
    pause(plan.s3_away);
    cluster.s3.resume();
    Ok(())
}

/// Each in turn, while several long uploads are in their middle, at one or the other; and again,
/// until one of them had to go on elsewhere from what was in the bucket.
fn kill_resource(cluster: &mut Cluster, plan: &Plan, ledger: &Ledger) -> Result<(), Failure> {
    ledger.lock().only_long = true;
    let names = cluster.names_of("resource");
    for round in 0..RESOURCE_KILLS_MAX {
        if round >= names.len() && ledger.lock().resumed > 0 {
            break;
        }
        let name = &names[round % names.len()];
        let deadline = Instant::now() + UNDER_WAY_MAX;
        while ledger.lock().in_the_middle.len() < UPLOADS_KILLED_MIN {
            if Instant::now() > deadline {
                return Err("no long files are under way".into());
            }
            pause(Duration::from_millis(5));
        }
        cluster.kill(name);
        pause(plan.away * 2);
        cluster.restart(name);
        pause(plan.afterwards);
    }
    ledger.lock().only_long = false;
    if ledger.lock().resumed == 0 {
        return Err("no upload went on where a killed process had left it".into());
    }
    Ok(())
}

/// With a chat node killed meanwhile, so that clients ask for another while one of two is away.
fn kill_status(cluster: &mut Cluster, plan: &Plan, _: &Ledger) -> Result<(), Failure> {
    cluster.kill("status-1");
    cluster.kill("chat-1");
    pause(plan.away * 2);
    cluster.restart("chat-1");
    cluster.restart("status-1");
    Ok(())
}

/// Moves all sessions off a node, ends it, and starts it again, in a window as long as one without.
fn drain(cluster: &mut Cluster, plan: &Plan, node: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    let over = format!("{}s", plan.drain_over.as_secs());
    let output = cluster.admin(&["drain", node, "--over", &over]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    pause(plan.drain_over + DRAIN_SETTLES);
    cluster.terminate(node);
    let status = cluster.wait(node);
    if !status.success() {
        return Err(format!("the drained node ended with {status}").into());
    }
    cluster.restart(node);
    pause(plan.window().saturating_sub(begun.elapsed()));
    Ok(())
}

/// Lets time pass with the fault as it is: its length is part of what is tried.
fn pause(time: Duration) {
    let until = Instant::now() + time;
    patiently("the time is over", || Instant::now() >= until);
}
