//! A store in memory for the tests of this crate: just the two nouns, and faults on demand.

mod blobs;
mod coming;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use skein_core::{
    coming::Destination,
    id::{AccountId, BlobId, UploadId},
    port::resource::{BlobInfo, Thumbnail, UploadSpec},
    refusal::{Code, Refusal},
    time::Timestamp,
};
use skein_store::{
    StoreError,
    upload::{
        Checkpoint, CompletingUpload, Opening, Quota, StaleUpload, UploadPlace, UploadRecord,
        UploadState, Uploads, charged_bytes,
    },
};

/// What the tests see of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) uploads: BTreeMap<(AccountId, UploadId), Upload>,
    pub(crate) blobs: BTreeMap<BlobId, (BlobInfo, Timestamp)>,
    pub(crate) referenced: HashSet<BlobId>,
    tries: BTreeMap<BlobId, u64>,
    /// Somebody hangs.
    pub(crate) hung: bool,
    /// The next completion fails.
    pub(crate) fail_completion: bool,
    /// The next checkpoint fails.
    pub(crate) fail_checkpoint: bool,
    /// The next record of what became of a thumbnail fails.
    pub(crate) fail_thumbnail: bool,
    /// Whoever comes to this step never gets an answer: its process is about to be killed.
    pub(crate) hang: Option<Step>,
    /// As soon as stale uploads were listed, all uploads are continued, at this time.
    pub(crate) continue_found: Option<Timestamp>,
}

/// Where a process may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Before it is recorded that all bytes are there.
    BeforeCompleting,
    /// After that.
    AfterCompleting,
    /// Before the blob is made visible.
    BeforeCompletion,
    /// After that.
    AfterCompletion,
}

#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) spec: UploadSpec,
    pub(crate) blob: BlobId,
    pub(crate) checkpoint: Checkpoint,
    opening: Opening,
    completing: bool,
    touched: Timestamp,
    destination: Option<Destination>,
}

impl Upload {
    fn state(&self) -> UploadState {
        let (checkpoint, opening) = (self.checkpoint.clone(), self.opening);
        if self.completing {
            UploadState::Completing { checkpoint, opening }
        } else {
            UploadState::Receiving { checkpoint, opening }
        }
    }
}

impl Ledger {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// Whoever hangs has taken the fault with it: the next to come here passes.
    async fn pass(&self, step: Step) {
        let hangs = self.book().hang.take_if(|hang| *hang == step).is_some();
        if hangs {
            self.0.lock().unwrap().hung = true;
            std::future::pending::<()>().await;
        }
    }
}

impl Book {
    fn used(&self, account: AccountId) -> u64 {
        let mine = |blob: &&(BlobInfo, Timestamp)| blob.0.uploader == account;
        let complete = self.blobs.values().filter(mine).map(|blob| blob.0.size);
        let open = self.open(account).map(|upload| upload.spec.size);
        complete.chain(open).map(charged_bytes).sum()
    }

    fn checkpoint(
        &mut self,
        key: (AccountId, UploadId),
        opening: Opening,
        checkpoint: Checkpoint,
        completing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if std::mem::take(&mut self.fail_checkpoint) {
            return Err(fault("record a checkpoint"));
        }
        let upload = self.uploads.get_mut(&key).ok_or_else(|| refuse(Code::NotFound))?;
        if upload.blob != opening.blob || self.blobs.contains_key(&upload.blob) {
            return Err(refuse(Code::NotFound));
        }
        if upload.opening != opening {
            return Err(refuse(Code::Superseded));
        }
        if upload.completing && !completing {
            return Err(refuse(Code::BeyondSize));
        }
        upload.completing = completing;
        (upload.checkpoint, upload.touched) = (checkpoint, now);
        Ok(())
    }

    fn complete(
        &mut self,
        key: (AccountId, UploadId),
        blob: BlobId,
        dimensions: Option<(u32, u32)>,
        now: Timestamp,
    ) -> Result<BlobInfo, StoreError> {
        if std::mem::take(&mut self.fail_completion) {
            return Err(fault("complete an upload"));
        }
        let upload = self.uploads.get(&key).filter(|upload| upload.blob == blob);
        let upload = upload.ok_or_else(|| refuse(Code::NotFound))?;
        let info = BlobInfo {
            id: upload.blob,
            uploader: key.0,
            size: upload.spec.size,
            media_type: upload.spec.media_type.clone(),
            hash: upload.spec.hash,
            dimensions,
            thumbnail: if dimensions.is_some() { Thumbnail::Pending } else { Thumbnail::None },
        };
        Ok(self.blobs.entry(info.id).or_insert((info, now)).0.clone())
    }

    /// All that are open, the longest untouched first.
    fn records(&self) -> Vec<UploadRecord> {
        let open = self.uploads.iter().filter(|(_, up)| !self.blobs.contains_key(&up.blob));
        let mut records: Vec<_> = open
            .map(|(&(account, id), upload)| UploadRecord {
                account,
                id,
                blob: upload.blob,
                size: upload.spec.size,
                durable: upload.checkpoint.durable,
                completing: upload.completing,
                touched: upload.touched,
            })
            .collect();
        records.sort_by_key(|upload| (upload.touched, upload.account, upload.id));
        records
    }

    fn open(&self, account: AccountId) -> impl Iterator<Item = &Upload> {
        let mine = self.uploads.iter().filter(move |(key, _)| key.0 == account);
        mine.map(|(_, upload)| upload).filter(|upload| !self.blobs.contains_key(&upload.blob))
    }
}

fn fault(doing: &'static str) -> StoreError {
    StoreError::Failed { doing, source: "the test wants it".into() }
}

fn refuse(code: Code) -> StoreError {
    Refusal::new(code, "refused").into()
}

#[async_trait]
impl Uploads for Ledger {
    async fn open_upload(
        &self,
        account: AccountId,
        spec: UploadSpec,
        blob: BlobId,
        quota: Quota,
        now: Timestamp,
    ) -> Result<UploadState, StoreError> {
        let mut book = self.book();
        let key = (account, spec.id);
        let Book { uploads, blobs, .. } = &mut *book;
        if let Some(upload) = uploads.get_mut(&key) {
            if upload.spec != spec {
                return Err(refuse(Code::UploadConflict));
            }
            if let Some((info, _)) = blobs.get(&upload.blob) {
                return Ok(UploadState::Complete(info.clone()));
            }
            upload.opening.number += 1;
            upload.touched = now;
            return Ok(upload.state());
        }
        if book.open(account).count() as u64 >= quota.open_uploads {
            return Err(refuse(Code::TooMany));
        }
        if book.used(account) + charged_bytes(spec.size) > quota.bytes {
            return Err(refuse(Code::Quota));
        }
        let (checkpoint, opening) = (Checkpoint::default(), Opening { blob, number: 1 });
        let (completing, touched, destination) = (false, now, None);
        let upload = Upload { spec, blob, checkpoint, opening, completing, touched, destination };
        let state = upload.state();
        book.uploads.insert(key, upload);
        Ok(state)
    }

    async fn checkpoint_upload(
        &self,
        account: AccountId,
        id: UploadId,
        opening: Opening,
        checkpoint: Checkpoint,
        completing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if completing {
            self.pass(Step::BeforeCompleting).await;
        }
        self.book().checkpoint((account, id), opening, checkpoint, completing, now)?;
        if completing {
            self.pass(Step::AfterCompleting).await;
        }
        Ok(())
    }

    async fn complete_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        dimensions: Option<(u32, u32)>,
        now: Timestamp,
    ) -> Result<BlobInfo, StoreError> {
        self.pass(Step::BeforeCompletion).await;
        let info = self.book().complete((account, id), blob, dimensions, now)?;
        self.pass(Step::AfterCompletion).await;
        Ok(info)
    }

    async fn completing_uploads(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CompletingUpload>, StoreError> {
        let book = self.book();
        let mut found = book.records();
        found.retain(|upload| upload.completing && upload.touched < before);
        found.truncate(limit);
        let known = |record: UploadRecord| {
            let upload = &book.uploads[&(record.account, record.id)];
            CompletingUpload {
                account: record.account,
                id: record.id,
                blob: record.blob,
                size: record.size,
                media_type: upload.spec.media_type.clone(),
                parts: upload.checkpoint.parts.clone(),
            }
        };
        Ok(found.into_iter().map(known).collect())
    }

    async fn open_uploads(
        &self,
        after: Option<UploadPlace>,
        limit: usize,
    ) -> Result<Vec<UploadRecord>, StoreError> {
        let mut found = self.book().records();
        let place = |UploadRecord { touched, account, id, .. }: &_| UploadPlace {
            touched: *touched,
            account: *account,
            id: *id,
        };
        found.sort_by_key(place);
        found.retain(|record| after.is_none_or(|after| place(record) > after));
        found.truncate(limit);
        Ok(found)
    }

    async fn discard_upload(
        &self,
        account: AccountId,
        id: UploadId,
        blob: BlobId,
        untouched_since: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let mut book = self.book();
        let found = book.uploads.get(&(account, id)).filter(|upload| upload.blob == blob);
        let stale = found.is_some_and(|upload| match untouched_since {
            Some(since) => !upload.completing && upload.touched < since,
            None => true,
        });
        Ok(stale && book.uploads.remove(&(account, id)).is_some())
    }

    async fn cancel_upload(
        &self,
        account: AccountId,
        id: UploadId,
    ) -> Result<Option<StaleUpload>, StoreError> {
        let mut book = self.book();
        let found = book.uploads.get(&(account, id)).cloned();
        let open = found.filter(|up| !up.completing && !book.blobs.contains_key(&up.blob));
        let Some(upload) = open else { return Ok(None) };
        book.uploads.remove(&(account, id));
        let Upload { blob, touched, checkpoint: Checkpoint { parts, .. }, .. } = upload;
        Ok(Some(StaleUpload { account, id, blob, touched, parts }))
    }

    async fn stale_uploads(
        &self,
        before: Timestamp,
        after: Option<StaleUpload>,
        limit: usize,
    ) -> Result<Vec<StaleUpload>, StoreError> {
        let mut book = self.book();
        let open = book.uploads.iter().filter(|(_, up)| !book.blobs.contains_key(&up.blob));
        let mut stale: Vec<_> = open
            .filter(|(_, upload)| !upload.completing)
            .map(|((account, id), Upload { blob, touched, checkpoint, .. })| StaleUpload {
                account: *account,
                id: *id,
                blob: *blob,
                touched: *touched,
                parts: checkpoint.parts.clone(),
            })
            .filter(|upload| upload.touched < before)
            .collect();
        let place = |upload: &StaleUpload| (upload.touched, upload.account, upload.id);
        stale.sort_by_key(place);
        stale.retain(|upload| after.as_ref().is_none_or(|after| place(upload) > place(after)));
        stale.truncate(limit);
        if let Some(now) = book.continue_found.take() {
            book.uploads.values_mut().for_each(|upload| upload.touched = now);
        }
        Ok(stale)
    }
}
