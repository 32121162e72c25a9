//! Fetches a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use skein_core::{
    entry::Attachment,
    port::resource::Variant,
    transfer::{Download, Patience},
};
use skein_net::{priority::Priority, stream::Receiver};
use skein_wire::{
    pb::{self, download_status::Kind},
    transfer::DownloadRequest,
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use super::{Current, PIECE_BYTES, Phase, Progress, Reporter, STALL_TIMEOUT, Stop};
use crate::{Client, Error};

/// A download under way: the machine and the partial file.
struct Part<'a> {
    request: DownloadRequest,
    download: Download,
    file: File,
    path: PathBuf,
    reporter: Reporter<'a>,
}

impl Client {
    /// Fetches the file of an attachment, or its thumbnail, to `to`. The bytes are collected in
    /// `to` + `.part`, from which a later call continues, and get their name once they are complete
    /// and have the hash that the message names.
    ///
    /// # Errors
    /// [`Error::FileExists`] if there is such a file, or a partial one that this home did not
    /// begin, and `replace` is false; if the server refuses, the disk cannot be written, or too
    /// many tries in a row brought nothing.
    pub async fn download(
        &self,
        attachment: &Attachment,
        variant: Variant,
        to: &Path,
        replace: bool,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<(), Error> {
        if !replace && tokio::fs::try_exists(to).await.map_err(Error::file(to))? {
            return Err(Error::FileExists(to.to_owned()));
        }
        let mut path = to.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let key = std::path::absolute(&path).map_err(Error::file(&path))?;
        let key = key.to_string_lossy().into_owned();
        let begun = self.home.part_at(key.clone()).await?;
        let file = if begun == Some((attachment.blob, variant)) {
            open(&path).await?
        } else {
            let file = open_empty(&path, replace || begun.is_some()).await?;
            // Not before the file is empty: no other file's bytes may count as this one's.
            self.home.keep_download(key.clone(), attachment.blob, variant).await?;
            file
        };
        let mut part = Part::new(attachment, variant, path, file, &progress).await?;
        self.fetch(&mut part).await?;
        if let Err(wrong) = part.download.verify() {
            // Nothing of it can be trusted: the next call begins anew.
            drop(part.file);
            tokio::fs::remove_file(&part.path).await.map_err(Error::file(&part.path))?;
            self.home.forget_download(key).await?;
            return Err(wrong.into());
        }
        part.file.sync_all().await.map_err(Error::file(&part.path))?;
        let (from, to) = (part.path, to.to_owned());
        let named = tokio::task::spawn_blocking(move || name_file(&from, &to, replace));
        named.await.map_err(Error::home)??;
        self.home.forget_download(key).await
    }

    async fn fetch(&self, part: &mut Part<'_>) -> Result<(), Error> {
        let mut patience = Patience::default();
        while !part.download.is_complete() {
            let before = part.download.offset();
            let Err(stop) = self.try_fetch(part).await else { continue };
            let progressed = part.download.offset() > before;
            let delay = stop.next_try(&mut patience, progressed)?;
            if !delay.is_zero() {
                part.reporter.report(Phase::Waiting, part.download.offset());
                tokio::time::sleep(delay).await;
            }
        }
        Ok(())
    }

    /// Opens a stream for what is missing and takes it in until its end.
    async fn try_fetch(&self, part: &mut Part<'_>) -> Result<(), Stop> {
        let Some(mut current) = self.transfer_connection().await? else { return Err(Stop::Lost) };
        let priority = match part.request.variant {
            Variant::Original => Priority::Bulk,
            Variant::Thumbnail => Priority::Thumbnail,
        };
        let opened = current.connection.open(priority).await;
        let (mut sender, mut receiver) = opened.map_err(|_| Stop::Lost)?;
        let request = DownloadRequest { offset: part.download.offset(), ..part.request };
        let open = pb::Open { kind: Some(pb::open::Kind::Download(request.into())) };
        sender.frame(&open).await?;
        sender.finish();
        let status = tokio::time::timeout(STALL_TIMEOUT, receiver.frame::<pb::DownloadStatus>());
        let status = tokio::select! {
            status = status => status.map_err(|_| Stop::Lost)??,
            () = current.moved() => return Err(Stop::Moved),
        };
        let header = match status.and_then(|status| status.kind) {
            Some(Kind::Header(header)) => header,
            Some(Kind::Error(error)) => return Err(Stop::Refused(error.into())),
            None => return Err(Stop::Lost),
        };
        let hash = <[u8; 32]>::try_from(&header.blake3[..]).ok();
        part.download.handle_header(header.size, hash, header.length).map_err(Error::from)?;
        part.reporter.total = Some(header.size);
        part.reporter.begin(Phase::Opened, part.download.offset());
        part.take(&mut receiver, &mut current).await
    }
}

impl<'a> Part<'a> {
    /// Reads what an earlier call has left in the partial file.
    async fn new(
        attachment: &Attachment,
        variant: Variant,
        path: PathBuf,
        mut file: File,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Result<Self, Error> {
        let promised = match variant {
            Variant::Original => Some((attachment.size, attachment.hash)),
            Variant::Thumbnail => None,
        };
        if variant == Variant::Thumbnail {
            // There is no hash to hold the bytes to, and it is small.
            file.set_len(0).await.map_err(Error::file(&path))?;
        }
        let mut download = Download::new(promised);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut buffer).await.map_err(Error::file(&path))?;
            if count == 0 {
                break;
            }
            if download.handle_bytes(&buffer[..count]).is_err() {
                // More than the file has: these cannot be its bytes.
                file.set_len(0).await.map_err(Error::file(&path))?;
                file.rewind().await.map_err(Error::file(&path))?;
                download = Download::new(promised);
                break;
            }
        }
        let request = DownloadRequest { blob: attachment.blob, variant, offset: 0, length: None };
        let reporter = Reporter::new(progress, promised.map(|(size, _)| size));
        Ok(Self { request, download, file, path, reporter })
    }

    async fn take(&mut self, receiver: &mut Receiver, current: &mut Current) -> Result<(), Stop> {
        let taken = self.take_all(receiver, current).await;
        // What was taken in counts only once it is in the file.
        self.file.flush().await.map_err(Error::file(&self.path))?;
        taken
    }

    async fn take_all(
        &mut self,
        receiver: &mut Receiver,
        current: &mut Current,
    ) -> Result<(), Stop> {
        loop {
            let next = tokio::time::timeout(STALL_TIMEOUT, receiver.bytes(PIECE_BYTES));
            let next = tokio::select! {
                next = next => next.map_err(|_| Stop::Lost)??,
                () = current.moved() => return Err(Stop::Moved),
            };
            let Some(bytes) = next else { break };
            self.download.handle_bytes(&bytes).map_err(Error::from)?;
            self.file.write_all(&bytes).await.map_err(Error::file(&self.path))?;
            self.reporter.report(Phase::Receiving, self.download.offset());
        }
        if self.download.is_complete() { Ok(()) } else { Err(Stop::Lost) }
    }
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
