//! A UDP relay between clients and a server, which loses, delays and cuts as it is told, and can
//! make a client appear to come from elsewhere. It runs anywhere, without privileges.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::Rng;
use tokio::{net::UdpSocket, sync::Semaphore, task::JoinHandle};

/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams that are on the way at a time; further ones are lost, as in a full router.
const ON_THE_WAY_MAX: usize = 4096;
/// Clients that one relay serves.
const CLIENTS_MAX: usize = 4096;

/// What the relay does to each datagram.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// How likely a datagram is lost: 0 to 1.
    pub loss: f64,
    /// How long each takes.
    pub delay: Duration,
    /// How much longer some take, at random: what makes them overtake one another.
    pub jitter: Duration,
    /// Nothing gets through.
    pub cut: bool,
}

/// A relay. It ends when dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    front: UdpSocket,
    server: SocketAddr,
    weather: Mutex<Weather>,
    /// The socket by which each client is known to the server.
    clients: Mutex<HashMap<SocketAddr, Path>>,
    room: Arc<Semaphore>,
}

struct Path {
    back: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// A relay on loopback that passes everything on to `server`.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let front = UdpSocket::bind("127.0.0.1:0").await?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            server,
            weather: Mutex::default(),
            clients: Mutex::default(),
            room: Arc::new(Semaphore::new(ON_THE_WAY_MAX)),
        });
        let task = tokio::spawn(forward(Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to each datagram from now on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// From now on the server sees every client at another port, as after a NAT has forgotten.
    pub fn rebind(&self) {
        self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.rebind();
    }
}

async fn forward(shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, client)) = shared.front.recv_from(&mut buffer).await else { continue };
        let Some(back) = path(&shared, client).await else { continue };
        let server = shared.server;
        pass(&shared, buffer[..length].to_vec(), move |datagram| async move {
            back.send_to(&datagram, server).await.ok();
        });
    }
}

/// The socket by which `client` is known to the server, made when the client is new.
async fn path(shared: &Arc<Shared>, client: SocketAddr) -> Option<Arc<UdpSocket>> {
    let known = |shared: &Shared| {
        let clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.get(&client).map(|path| Arc::clone(&path.back))
    };
    if let Some(back) = known(shared) {
        return Some(back);
    }
    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.ok()?);
    let task = tokio::spawn(answer(Arc::clone(shared), Arc::clone(&back), client));
    let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
    if clients.len() >= CLIENTS_MAX {
        task.abort();
        return None;
    }
    clients.insert(client, Path { back: Arc::clone(&back), task });
    Some(back)
}

async fn answer(shared: Arc<Shared>, back: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok(length) = back.recv(&mut buffer).await else { continue };
        let front = Arc::clone(&shared);
        pass(&shared, buffer[..length].to_vec(), move |datagram| async move {
            front.front.send_to(&datagram, client).await.ok();
        });
    }
}

fn pass<F, Fut>(shared: &Shared, datagram: Vec<u8>, send: F)
where
    F: FnOnce(Vec<u8>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let weather = *shared.weather.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = rand::rng();
    if weather.cut || random.random_bool(weather.loss.clamp(0.0, 1.0)) {
        return;
    }
    let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else { return };
    let delay = weather.delay + weather.jitter.mul_f64(random.random());
    tokio::spawn(async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        send(datagram).await;
        drop(room);
    });
}
