//! A bad network to try by hand: stands before a server, passes UDP and TCP on as told, and takes
//! further steps from a script and from the keyboard.

use std::{
    error::Error,
    fs,
    io::BufRead,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use skein_testkit::network::{
    Conditions, Network, Path, SEED, Script, Scripted, Step, TcpRelay, UdpRelay,
};
use tokio::{sync::mpsc, time::interval};

/// Lines from the keyboard that may wait.
const LINES_MAX: usize = 16;
/// How often the counts are printed, where they are wanted.
const COUNTS_INTERVAL: Duration = Duration::from_secs(1);

const STEPS: &str =
    "Steps, on standard input or in a script (one a line, after its time: `3s cut`):
  cut | restore            a blackout begins, ends
  rebind                   the server sees clients at other ports, as after a NAT has forgotten
  readdress 127.0.0.9      the server sees clients at this address of this machine
  block | refuse | unblock UDP vanishes, is refused, is let through
  set|up|down CONDITIONS   for both directions or one: loss=2%,delay=40ms,rate=10mbit,queue=100ms;
                           also jitter=5ms, burst=1%/5 (share/length), reorder=1%/3ms (share/late),
                           duplicate=1%, mtu=1280
  wired | wifi | busy-wifi | lte | hspa | satellite | edge
                           a typical network
  counts                   what was carried and lost so far";

/// A bad network to try by hand.
#[derive(Debug, Parser)]
#[command(after_help = STEPS)]
struct Arguments {
    /// The server: host address and port.
    #[arg(long)]
    server: SocketAddr,
    /// Where clients connect, by UDP and TCP.
    #[arg(long, default_value = "127.0.0.1:5544")]
    listen: SocketAddr,
    /// Pass on UDP only, so that TCP may listen there itself.
    #[arg(long)]
    udp_only: bool,
    /// A typical network to begin with: wired, wifi, busy-wifi, lte, hspa, satellite, edge.
    #[arg(long)]
    network: Option<String>,
    /// Lost at random, in both directions: 2%.
    #[arg(long)]
    loss: Option<String>,
    /// Lost in bursts, share/mean length in datagrams: 1%/5.
    #[arg(long)]
    burst: Option<String>,
    /// One way: 40ms.
    #[arg(long)]
    delay: Option<String>,
    /// At most so much longer: 5ms.
    #[arg(long)]
    jitter: Option<String>,
    /// Late, share/how much: 1%/3ms.
    #[arg(long)]
    reorder: Option<String>,
    /// There twice: 1%.
    #[arg(long)]
    duplicate: Option<String>,
    /// 10mbit, 300kbit.
    #[arg(long)]
    rate: Option<String>,
    /// What may wait, as time or size, with a rate: 100ms, 64kB.
    #[arg(long)]
    queue: Option<String>,
    /// Bytes of the largest IP packet: 1280.
    #[arg(long)]
    mtu: Option<String>,
    /// Only this for the way up, instead of the above: loss=2%,delay=40ms.
    #[arg(long)]
    up: Option<Conditions>,
    /// Only this for the way down, instead of the above.
    #[arg(long)]
    down: Option<Conditions>,
    /// The address at which the server sees clients.
    #[arg(long)]
    outside: Option<IpAddr>,
    /// Steps in time, from a file.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Of all chance: the same gives the same.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Print what was carried and lost every second.
    #[arg(long)]
    counts: bool,
}

impl Arguments {
    /// What the path does at the beginning: up, down.
    fn conditions(&self) -> Result<(Conditions, Conditions), Box<dyn Error>> {
        let (mut up, mut down) = match &self.network {
            None => Default::default(),
            Some(name) => {
                let network = Network::named(name);
                let network = network.ok_or_else(|| format!("there is no network `{name}`"))?;
                (network.up, network.down)
            }
        };
        let changes = [
            ("loss", &self.loss),
            ("burst", &self.burst),
            ("delay", &self.delay),
            ("jitter", &self.jitter),
            ("reorder", &self.reorder),
            ("duplicate", &self.duplicate),
            ("rate", &self.rate),
            ("queue", &self.queue),
            ("mtu", &self.mtu),
        ];
        for (name, value) in changes {
            if let Some(value) = value {
                up.change(name, value)?;
                down.change(name, value)?;
            }
        }
        Ok((self.up.unwrap_or(up), self.down.unwrap_or(down)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let path = Path::new(arguments.seed);
    let (up, down) = arguments.conditions()?;
    path.set(up, down);
    let udp = UdpRelay::listen_on(path.clone(), arguments.server, arguments.listen)?;
    let tcp = if arguments.udp_only {
        None
    } else {
        Some(TcpRelay::listen_on(path.clone(), arguments.server, udp.address())?)
    };
    let mut relays: Vec<&dyn Scripted> = vec![&udp];
    relays.extend(tcp.as_ref().map(|tcp| tcp as &dyn Scripted));
    if let Some(outside) = arguments.outside {
        play(&relays, Step::Readdress(outside))?;
    }
    println!("{} leads to {}", udp.address(), arguments.server);
    let script: Script = match &arguments.script {
        None => Script::default(),
        Some(file) => fs::read_to_string(file)?.parse()?,
    };
    tokio::try_join!(
        async { script.run(&relays).await.map_err(Into::into) },
        keyboard(&relays, &path),
        counts(&path, arguments.counts),
    )?;
    Ok(())
}

fn play(relays: &[&dyn Scripted], step: Step) -> Result<(), Box<dyn Error>> {
    for relay in relays {
        relay.apply(step)?;
    }
    Ok(())
}

/// Takes the steps that are typed. At the end of the input the relay stays as it is.
async fn keyboard(relays: &[&dyn Scripted], path: &Path) -> Result<(), Box<dyn Error>> {
    let (sender, mut lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        match line.trim() {
            "" => {}
            "counts" => print(path),
            "help" => println!("{STEPS}"),
            step => match step.parse() {
                Ok(step) => play(relays, step)?,
                Err(error) => eprintln!("{error}; `help` says what there is"),
            },
        }
    }
    std::future::pending().await
}

async fn counts(path: &Path, are_wanted: bool) -> Result<(), Box<dyn Error>> {
    if !are_wanted {
        return Ok(());
    }
    let mut ticks = interval(COUNTS_INTERVAL);
    loop {
        ticks.tick().await;
        print(path);
    }
}

fn print(path: &Path) {
    let (up, down) = path.counts();
    println!("up:   {up}\ndown: {down}");
}
