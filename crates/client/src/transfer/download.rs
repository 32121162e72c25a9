//! Fetches a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use skein_core::{
    entry::Attachment,
    port::resource::Variant,
    refusal::Code,
    transfer::{Download, Patience},
};
use skein_wire::transfer::DownloadRequest;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use super::{
    Current, PIECE_BYTES, Phase, Progress, Reporter, Stop, Watcher, in_time,
    ranges::{Opened, Streams},
    upload::blocking,
};
use crate::{Client, Error};

/// A file that is being fetched: what a try needs, and what one leaves to the next.
pub(super) struct Fetching {
    request: DownloadRequest,
    download: Download,
    /// It is not complete at the server: what of it is there comes as it is received.
    is_coming: bool,
    file: File,
    part: PathBuf,
    /// What the home calls the partial file.
    key: String,
    to: PathBuf,
    replace: bool,
    reporter: Reporter,
}

impl Client {
    /// Fetches the file of an attachment, or its thumbnail, to `to`. The bytes are collected in
    /// `to` + `.part`, from which a later call continues, and get their name once they are complete
    /// and have the hash that the message names.
    ///
    /// # Errors
    /// [`Error::FileExists`] if there is such a file, or a partial one that this home did not
    /// begin, and `replace` is false; if the server refuses, the disk cannot be written, or too
    /// many tries in a row brought nothing; [`Error::InQueue`] if a file is queued to come there.
    pub async fn download(
        &self,
        attachment: &Attachment,
        variant: Variant,
        to: &Path,
        replace: bool,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.fetch(attachment, variant, to, replace, false, Arc::new(progress)).await
    }

    /// Fetches a file that is still coming, as [`download`](Self::download) does; but while its sender
    /// pauses this waits, however long that takes.
    ///
    /// # Errors
    /// As there; `not_found` if the sender gave it up.
    pub async fn follow(
        &self,
        attachment: &Attachment,
        to: &Path,
        replace: bool,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.fetch(attachment, Variant::Original, to, replace, true, Arc::new(progress)).await
    }

    async fn fetch(
        &self,
        attachment: &Attachment,
        variant: Variant,
        to: &Path,
        replace: bool,
        is_coming: bool,
        watcher: Watcher,
    ) -> Result<(), Error> {
        if let Some(id) = self.home.queued_download(target_key(to)?).await? {
            return Err(Error::InQueue(id));
        }
        let mut fetching = self.prepare_fetching(attachment, variant, to, replace, watcher).await?;
        fetching.is_coming = is_coming;
        let mut patience = if is_coming { Patience::for_coming() } else { Patience::default() };
        loop {
            let before = fetching.offset();
            let Err(stop) = self.try_fetching(&mut fetching).await else { return Ok(()) };
            let progressed = fetching.offset() > before;
            let delay = stop.next_try(&mut patience, progressed)?;
            if !delay.is_zero() {
                fetching.reporter.report(Phase::Waiting, fetching.offset());
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Opens the partial file, and reads what an earlier process has left in it.
    pub(super) async fn prepare_fetching(
        &self,
        attachment: &Attachment,
        variant: Variant,
        to: &Path,
        replace: bool,
        watcher: Watcher,
    ) -> Result<Fetching, Error> {
        if !replace && tokio::fs::try_exists(to).await.map_err(Error::file(to))? {
            return Err(Error::FileExists(to.to_owned()));
        }
        let part = partial_path(to);
        let key = target_key(&part)?;
        let begun = self.home.part_at(key.clone()).await?;
        let file = if begun == Some((attachment.blob, variant)) {
            open(&part).await?
        } else {
            let file = open_empty(&part, replace || begun.is_some()).await?;
            // Not before the file is empty: no other file's bytes may count as this one's.
            self.home.keep_download(key.clone(), attachment.blob, variant).await?;
            file
        };
        let promised = match variant {
            Variant::Original => Some((attachment.size, attachment.hash)),
            Variant::Thumbnail => None,
        };
        let request = DownloadRequest { blob: attachment.blob, variant, offset: 0, length: None };
        let reporter = Reporter::new(watcher, promised.map(|(size, _)| size));
        let (download, to) = (Download::new(promised), to.to_owned());
        let mut fetching = Fetching {
            request,
            download,
            is_coming: false,
            file,
            part,
            key,
            to,
            replace,
            reporter,
        };
        fetching.read_back(promised).await?;
        Ok(fetching)
    }

    /// Fetches what is missing over one connection. If that is all, gives the file its name.
    pub(super) async fn try_fetching(&self, fetching: &mut Fetching) -> Result<(), Stop> {
        if !fetching.download.is_complete() {
            self.try_download(fetching).await?;
        }
        let Fetching { download, file, part, key, to, replace, .. } = fetching;
        if let Err(wrong) = download.verify() {
            // Nothing of it can be trusted: the next call begins anew.
            tokio::fs::remove_file(&part).await.map_err(Error::file(&*part))?;
            self.home.forget_download(key.clone()).await?;
            return Err(Error::from(wrong).into());
        }
        file.sync_all().await.map_err(Error::file(&*part))?;
        let (from, to, replace) = (part.clone(), to.clone(), *replace);
        blocking(move || name_file(&from, &to, replace)).await?;
        Ok(self.home.forget_download(key.clone()).await?)
    }

    /// Opens streams for what is missing and takes it in until its end.
    async fn try_download(&self, fetching: &mut Fetching) -> Result<(), Stop> {
        let Some(mut current) = self.transfer_connection().await? else { return Err(Stop::Lost) };
        let request = DownloadRequest { offset: fetching.offset(), ..fetching.request };
        let size = fetching.download.size().filter(|_| !fetching.is_coming);
        let mut streams = Streams::new(&current.connection, request, size, &self.unread);
        let mut begun = false;
        loop {
            let opened = tokio::select! {
                next = streams.next() => next?,
                () = current.moved() => return Err(Stop::Moved),
            };
            let Some(opened) = opened else { break };
            fetching.accept(&opened)?;
            if !std::mem::replace(&mut begun, true) {
                fetching.reporter.begin(Phase::Opened, fetching.offset());
            }
            fetching.take(opened, &mut streams, &mut current).await?;
        }
        if fetching.download.is_complete() { Ok(()) } else { Err(Stop::Lost) }
    }
}

impl Fetching {
    /// Bytes that are here.
    pub(super) const fn offset(&self) -> u64 {
        self.download.offset()
    }

    /// Reads what an earlier call has left in the partial file.
    async fn read_back(&mut self, promised: Option<(u64, [u8; 32])>) -> Result<(), Error> {
        let Self { file, part, download, .. } = self;
        if promised.is_none() {
            // There is no hash to hold the bytes to, and it is small.
            file.set_len(0).await.map_err(Error::file(&*part))?;
        }
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut buffer).await.map_err(Error::file(&*part))?;
            if count == 0 {
                return Ok(());
            }
            if download.handle_bytes(&buffer[..count]).is_err() {
                // More than the file has: these cannot be its bytes.
                file.set_len(0).await.map_err(Error::file(&*part))?;
                file.rewind().await.map_err(Error::file(&*part))?;
                *download = Download::new(promised);
                return Ok(());
            }
        }
    }

    /// Whether what the server offers is what was asked for.
    fn accept(&mut self, opened: &Opened) -> Result<(), Error> {
        let header = &opened.header;
        let hash = <[u8; 32]>::try_from(&header.blake3[..]).ok();
        self.download.handle_header(header.size, hash, header.length)?;
        if let Some(length) = opened.length.filter(|length| *length != header.length) {
            let text = format!("{} bytes of a file instead of {length}", header.length);
            return Err(Error::BadAnswer(text));
        }
        self.reporter.total = Some(header.size);
        Ok(())
    }

    /// Takes in a range until its end.
    async fn take(
        &mut self,
        mut opened: Opened,
        streams: &mut Streams,
        current: &mut Current,
    ) -> Result<(), Stop> {
        let end = self.offset() + opened.header.length;
        // The stream of a file that is still coming ends with the file, whatever was asked for.
        let is_last = self.download.size() == Some(end);
        let connection = current.connection.clone();
        while is_last || self.offset() < end {
            let next = tokio::select! {
                // The server is there: of a file that is still coming it may have nothing to say.
                next = in_time(&connection, opened.receiver.arrived(PIECE_BYTES)) => {
                    next.ok_or(Stop::Ended(Code::TimedOut))??
                }
                () = current.moved() => return Err(Stop::Moved),
            };
            if next.is_empty() {
                break;
            }
            let bytes = next.concat();
            if bytes.len() as u64 > end - self.offset() {
                let text = "more bytes of a file than announced".to_owned();
                return Err(Error::BadAnswer(text).into());
            }
            // Counts only once it is in the file: this may end at any await.
            self.file.write_all(&bytes).await.map_err(Error::file(&self.part))?;
            self.file.flush().await.map_err(Error::file(&self.part))?;
            self.download.handle_bytes(&bytes).map_err(Error::from)?;
            self.reporter.report(Phase::Receiving, self.offset());
            streams.taken(self.offset());
        }
        if self.offset() == end { Ok(()) } else { Err(Stop::Lost) }
    }
}

/// Where the bytes are collected that are going to be the file `to`: what is there is the beginning of
/// the file. Of one that is still coming, a player may read it while it grows; nobody has checked its
/// hash then.
#[must_use]
pub fn partial_path(to: &Path) -> PathBuf {
    let mut path = to.as_os_str().to_owned();
    path.push(".part");
    PathBuf::from(path)
}

/// What the home calls a file that is fetched.
pub(super) fn target_key(to: &Path) -> Result<String, Error> {
    let absolute = std::path::absolute(to).map_err(Error::file(to))?;
    Ok(absolute.to_string_lossy().into_owned())
}

async fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).await.map_err(Error::file(path))
}

/// Opens the partial file without what is in it. Bytes that are there are someone's file that
/// happens to have this name, unless `ours`.
async fn open_empty(path: &Path, ours: bool) -> Result<File, Error> {
    let file = open(path).await?;
    let length = file.metadata().await.map_err(Error::file(path))?.len();
    if length > 0 && !ours {
        return Err(Error::FileExists(path.to_owned()));
    }
    file.set_len(0).await.map_err(Error::file(path))?;
    file.sync_all().await.map_err(Error::file(path))?;
    Ok(file)
}

/// Gives the partial file its name, without ever replacing a file that was not to be replaced.
fn name_file(from: &Path, to: &Path, replace: bool) -> Result<(), Error> {
    if replace {
        return fs::rename(from, to).map_err(Error::file(to));
    }
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).map_err(Error::file(from)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::FileExists(to.to_owned()))
        }
        // A file system without links: nothing better than to look first.
        Err(_) if !to.exists() => fs::rename(from, to).map_err(Error::file(to)),
        Err(error) => Err(Error::file(to)(error)),
    }
}

#[cfg(test)]
mod tests {
    use skein_core::{
        id::BlobId,
        name::{FileName, MediaType},
    };

    use super::*;

    #[tokio::test]
    async fn an_unrelated_partial_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(&folder.path().join("home")).unwrap();
        let attachment = Attachment {
            blob: BlobId([1; 16]),
            name: FileName::parse("a").unwrap(),
            size: 5,
            media_type: MediaType::parse("text/plain").unwrap(),
            hash: [0; 32],
        };
        let (to, part) = (folder.path().join("a"), folder.path().join("a.part"));
        fs::write(&part, "someone's").unwrap();
        let fetch = |replace| client.download(&attachment, Variant::Original, &to, replace, drop);
        let refused = fetch(false).await.unwrap_err();
        assert!(matches!(refused, Error::FileExists(path) if path == part));
        assert_eq!(fs::read(&part).unwrap(), b"someone's");
        // Nobody is connected here; the partial file is made all the same.
        assert!(matches!(fetch(true).await, Err(Error::NotConnected)));
        assert_eq!(fs::read(&part).unwrap(), b"");
        // It is this home's from now on.
        fs::write(&part, "hel").unwrap();
        assert!(matches!(fetch(false).await, Err(Error::NotConnected)));
        assert_eq!(fs::read(&part).unwrap(), b"hel");
        // What was begun for another blob is begun anew.
        let other = Attachment { blob: BlobId([2; 16]), ..attachment.clone() };
        let fetched = client.download(&other, Variant::Original, &to, false, drop).await;
        assert!(matches!(fetched, Err(Error::NotConnected)));
        assert_eq!(fs::read(&part).unwrap(), b"");
    }
}
