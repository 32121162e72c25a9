//! One upload through crashes of either side: a real `Upload` machine, a server whose bytes are
//! received before they are durable, and a pipe between them.

use std::{collections::VecDeque, ops::Range, time::Duration};

use skein_core::{
    limit::UPLOAD_AHEAD_BYTES_MAX,
    port::resource::Offsets,
    time::Timestamp,
    transfer::{Path, Upload},
};

use crate::random::Random;

/// What the transport says its round trip is.
const PATH: Path = Path { round_trip: Duration::from_millis(50), lost: Some(0) };

/// A stream, while it lasts.
#[derive(Default)]
struct Pipe {
    up: VecDeque<Range<u64>>,
    down: VecDeque<Offsets>,
}

/// What happens to one upload until it is complete.
pub(crate) fn run(seed: u64, verbose: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let size = random.within(0..24 * 1024 * 1024);
    let mut upload = Upload::new(size);
    let mut server = Offsets::default();
    let mut pipe: Option<Pipe> = None;
    // The furthest byte ever sent, and ever received: what is sent again after an interruption lies
    // before the one, and was lost by the server if it lies before the other.
    let (mut furthest, mut received) = (0, 0);
    for step in 0..100_000 {
        let now = Timestamp(step * 5);
        let Some(stream) = pipe.as_mut() else {
            let from = upload.handle_ready(server).map_err(|error| error.to_string())?;
            let again = u64::saturating_sub(furthest, from.max(received));
            if verbose {
                println!("opens at {from} of {size}; {again} bytes go again without a loss");
            }
            if again > UPLOAD_AHEAD_BYTES_MAX {
                return Err(format!("{again} bytes are sent again that nobody lost"));
            }
            pipe = Some(Pipe::default());
            continue;
        };
        if server.durable == size {
            return Ok(());
        }
        match random.within(0..100) {
            0..40 => {
                if let Some(range) = upload.poll_send(now) {
                    furthest = furthest.max(range.end);
                    stream.up.push_back(range);
                }
            }
            40..70 => {
                if let Some(range) = stream.up.pop_front() {
                    if range.start != server.received {
                        return Err(format!("{range:?} arrives at {}", server.received));
                    }
                    server.received = range.end;
                    received = received.max(range.end);
                    stream.down.push_back(server);
                }
            }
            70..82 => {
                server.durable = random.within(server.durable..server.received + 1);
                stream.down.push_back(server);
            }
            82..97 => {
                if let Some(offsets) = stream.down.pop_front() {
                    let reported = upload.handle_progress(offsets, PATH, now);
                    reported.map_err(|error| error.to_string())?;
                }
            }
            // The network is cut: the server keeps what it has received.
            97 => pipe = None,
            // The client is killed: a new process knows only what the server tells it.
            98 => {
                upload = Upload::new(size);
                pipe = None;
            }
            // The server is killed: what was not durable is gone.
            _ => {
                server.received = server.durable;
                pipe = None;
            }
        }
    }
    Err(format!("not complete after all that time: {server:?} of {size}"))
}
