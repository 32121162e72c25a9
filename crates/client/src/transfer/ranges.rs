//! The streams of a download: ranges of the file, asked for ahead and taken in order.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use skein_core::{port::resource::Variant, time::Timestamp, transfer::Ranges};
use skein_net::{Connection, priority::Priority, stream::Receiver, transport::STREAM_BYTES_DOWN};
use skein_wire::{
    pb::{self, download_status::Kind},
    transfer::DownloadRequest,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::{Stop, in_time, path_of};
use crate::Error;

/// What of a file is under way over one connection.
pub(super) struct Streams {
    connection: Connection,
    request: DownloadRequest,
    unread: Arc<Semaphore>,
    started: Instant,
    /// `None` if everything is asked for at once.
    ranges: Option<Ranges>,
    asked: VecDeque<Asked>,
}

/// A range that was asked for. Dropping it gives its stream up.
struct Asked {
    length: Option<u64>,
    /// While another range was still being read.
    is_ahead: bool,
    answer: AbortOnDropHandle<Result<Answer, Stop>>,
    place: Option<OwnedSemaphorePermit>,
}

/// What the server says of a range.
struct Answer {
    receiver: Receiver,
    header: pb::DownloadHeader,
    took: Duration,
}

/// The next range, of which no byte is taken yet.
pub(super) struct Opened {
    pub(super) receiver: Receiver,
    pub(super) header: pb::DownloadHeader,
    /// Bytes that were asked for; `None` if all.
    pub(super) length: Option<u64>,
    /// What of it is unread has its place here.
    _place: Option<OwnedSemaphorePermit>,
}

impl Streams {
    /// For what follows on `request.offset`: all at once, or up to `size` in ranges. What is not read yet
    /// takes its place in `unread`.
    pub(super) fn new(
        connection: &Connection,
        request: DownloadRequest,
        size: Option<u64>,
        unread: &Arc<Semaphore>,
    ) -> Self {
        let credit = STREAM_BYTES_DOWN.into();
        let ranges = size.map(|size| Ranges::new(request.offset, size, credit));
        let (connection, unread) = (connection.clone(), Arc::clone(unread));
        let (started, asked) = (Instant::now(), VecDeque::new());
        let mut streams = Self { connection, request, unread, started, ranges, asked };
        if streams.ranges.is_none() {
            streams.ask_for(request.offset, None, false, None);
        }
        streams
    }

    /// The range that comes next; `None` after the last. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Result<Option<Opened>, Stop> {
        self.ask_ahead(false);
        let Some(next) = self.asked.front_mut() else { return Ok(None) };
        let answered = (&mut next.answer).await.map_err(Error::home)?;
        let Some(Asked { length, is_ahead, place, .. }) = self.asked.pop_front() else {
            return Ok(None);
        };
        let Answer { receiver, header, took } = match answered {
            // It may have been one too many at that moment. Whether the file is refused, the next try
            // is told.
            Err(Stop::Refused(_)) if is_ahead => return Err(Stop::Lost),
            answered => answered?,
        };
        if let Some(ranges) = &mut self.ranges {
            ranges.handle_answered(took);
        }
        Ok(Some(Opened { receiver, header, length, _place: place }))
    }

    /// Everything before `offset` has been taken.
    pub(super) fn taken(&mut self, offset: u64) {
        let Some(ranges) = &mut self.ranges else { return };
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        ranges.handle_taken(offset, path_of(&self.connection), Timestamp(now));
        self.ask_ahead(true);
    }

    /// Asks for what is due, as far as there is room for what nobody reads yet. Unless there is a range
    /// that is being read, the first needs none: it is read at once.
    fn ask_ahead(&mut self, is_reading: bool) {
        while let Some(range) = self.ranges.as_ref().and_then(Ranges::due) {
            let length = range.end - range.start;
            let unread = STREAM_BYTES_DOWN.min(u32::try_from(length).unwrap_or(u32::MAX));
            let place = Arc::clone(&self.unread).try_acquire_many_owned(unread).ok();
            let is_ahead = is_reading || !self.asked.is_empty();
            if place.is_none() && is_ahead {
                return;
            }
            self.ask_for(range.start, Some(length), is_ahead, place);
            if let Some(ranges) = &mut self.ranges {
                ranges.handle_asked(&range);
            }
        }
    }

    fn ask_for(
        &mut self,
        offset: u64,
        length: Option<u64>,
        is_ahead: bool,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let request = DownloadRequest { offset, length, ..self.request };
        let answer = AbortOnDropHandle::new(tokio::spawn(open(self.connection.clone(), request)));
        self.asked.push_back(Asked { length, is_ahead, answer, place });
    }
}

/// Opens a stream for a range, and waits for what the server says of it.
async fn open(connection: Connection, request: DownloadRequest) -> Result<Answer, Stop> {
    let began = Instant::now();
    let priority = match request.variant {
        Variant::Original => Priority::Bulk,
        Variant::Thumbnail => Priority::Thumbnail,
    };
    let (mut sender, mut receiver) = connection.open(priority).await.map_err(|_| Stop::Lost)?;
    let open = pb::Open { kind: Some(pb::open::Kind::Download(request.into())) };
    sender.frame(&open).await?;
    sender.finish();
    let status = in_time(&connection, receiver.frame::<pb::DownloadStatus>()).await;
    match status.ok_or(Stop::Lost)??.and_then(|status| status.kind) {
        Some(Kind::Header(header)) => Ok(Answer { receiver, header, took: began.elapsed() }),
        Some(Kind::Error(error)) => Err(Stop::Refused(error.into())),
        None => Err(Stop::Lost),
    }
}
