//! Throws away what nobody needs: uploads that nobody continues, blobs that no message refers to,
//! and files that the store does not know because a crash came between two steps.
//!
//! The record goes first and the bytes second, so that a visible blob always has its bytes; what a
//! crash leaves in between is a file without a record, which a later round finds. A file whose
//! record is missing never gets one: the store names a blob before its file is created, and names
//! are never used again. So a folder belongs to one store: under another one, every file in it is
//! an orphan. Each round is bounded, and goes on where the last one ended.
//!
//! Where blobs are in an object store, every node sweeps, and finishes what another one has begun to
//! complete. Each step may be repeated, so two may be at the same thing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use metrics::counter;
use skein_blob::{
    depot,
    staging::{self, Found},
};
use skein_core::{id::BlobId, port::resource::Variant, time::Timestamp};
use skein_store::{StoreError, upload::StaleUpload};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::{
    ResourceError,
    incoming::{Incoming, Lane},
    kept, metric,
    role::{Parts, on_disk},
    upload::{self, completing},
};

/// How long an upload may be completing before whoever was at it counts as gone. Completing takes
/// seconds, and two at it do no harm.
const COMPLETING_MAX: Duration = Duration::from_secs(60);
/// How long bytes in the spool may be at rest before it is asked whether their upload was completed,
/// or thrown away, at another node.
const SPOOLED_AT_REST: Duration = Duration::from_secs(10 * 60);

/// How long a round may still take once the process is to end: between two steps it leaves nothing
/// that a later round does not find.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// Uploads and blobs that are listed at a time, of each kind.
const BATCH: usize = 256;
/// Batches that one round works through, of each kind: enough to keep up with those who upload a lot
/// of nothing, and each round has an end.
const BATCHES: usize = 64;
/// File names that one round looks up, in staging and of each kind in the depot.
const NAMES: usize = 1024;

/// What one round threw away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Uploads that nobody continued.
    pub expired: usize,
    /// Blobs that no message refers to.
    pub collected: usize,
    /// Files that the store does not know, or needs no more.
    pub orphans: usize,
    /// Uploads that were completed, or given up, in place of somebody who is gone.
    pub completed: usize,
}

/// Where the next round goes on listing files; `None` for the beginning.
#[derive(Default)]
pub(crate) struct Places {
    staged: Option<staging::Listing>,
    originals: Option<depot::Listing>,
    thumbnails: Option<depot::Listing>,
}

/// Runs rounds until the soft stop, which waits a moment for the last one.
pub(crate) async fn run(parts: Arc<Parts>) {
    let interval = parts.config.sweep_interval();
    let mut ticks = time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = parts.shutdown.begun() => return,
            _ = ticks.tick() => {}
        }
        let done = tokio::select! {
            done = round(&parts, parts.clock.now()) => done,
            () = parts.shutdown.begun_for(STOP_PATIENCE) => return,
        };
        match done {
            Ok(swept) if swept != Swept::default() => tracing::info!(
                sweep.expired = swept.expired,
                sweep.collected = swept.collected,
                sweep.orphans = swept.orphans,
                sweep.completed = swept.completed,
                "threw away what nobody needs"
            ),
            Ok(_) => {}
            Err(error) => {
                counter!(metric::SWEEP_ERRORS).increment(1);
                tracing::error!(error.cause = %error, "a sweep was cut short");
            }
        }
        // What a node left that is gone.
        parts.pictures.notify_one();
    }
}

/// One round. Rounds do not overlap. Each step is tried; the first error is answered at the end.
pub(crate) async fn round(parts: &Parts, now: Timestamp) -> Result<Swept, ResourceError> {
    let mut places = parts.places.lock().await;
    // What one of them cannot do keeps none of the others from its work.
    let mut failed = None;
    let mut note = |done: Result<usize, ResourceError>| {
        done.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            0
        })
    };
    let swept = Swept {
        completed: note(complete(parts, now).await),
        expired: note(expire(parts, now).await),
        collected: note(collect(parts, now).await),
        orphans: note(delete_orphans(parts, &mut places, now).await),
    };
    for (kind, number) in [
        ("expired", swept.expired),
        ("collected", swept.collected),
        ("orphan", swept.orphans),
        ("completed", swept.completed),
    ] {
        counter!(metric::SWEPT, "kind" => kind).increment(number as u64);
    }
    failed.map_or(Ok(swept), Err)
}

/// Completes, or gives up, what nobody is completing any more.
async fn complete(parts: &Parts, now: Timestamp) -> Result<usize, ResourceError> {
    let before = now.before(COMPLETING_MAX);
    let mut completed = 0;
    for upload in parts.records.completing_uploads(before, BATCH).await? {
        let blob = upload.blob;
        match completing::finish(parts, &upload.into()).await {
            Ok(_) => completed += 1,
            Err(ResourceError::Store(error @ StoreError::Unavailable { .. })) => {
                return Err(error.into());
            }
            // One that cannot be completed keeps nobody else waiting; a store that is away does.
            Err(error) => {
                parts.depot.reach().await?;
                counter!(metric::SWEEP_ERRORS).increment(1);
                tracing::error!(%blob, error.cause = %error, "an upload cannot be completed");
            }
        }
    }
    Ok(completed)
}

async fn expire(parts: &Parts, now: Timestamp) -> Result<usize, ResourceError> {
    let before = now.before(parts.config.upload_expiry());
    let (mut expired, mut last) = (0, None);
    for _ in 0..BATCHES {
        // Those that are open stay in the list: what follows on the last one is the rest.
        let batch = parts.records.stale_uploads(before, last, BATCH).await?;
        if !batch.is_empty() {
            // Once their records are gone, nobody would know of bytes that stay at a store that is
            // away.
            parts.depot.reach().await?;
        }
        for upload in &batch {
            expired += usize::from(expire_one(parts, upload, before).await?);
        }
        if is_last(parts, batch.len()) {
            break;
        }
        last = batch.last().cloned();
    }
    Ok(expired)
}

async fn expire_one(
    parts: &Parts,
    upload: &StaleUpload,
    before: Timestamp,
) -> Result<bool, ResourceError> {
    let &StaleUpload { account, id, blob, .. } = upload;
    // Whoever has it open here keeps it, and whoever has it open elsewhere touches it now and then;
    // whoever opens it from now on waits and finds it gone.
    let Some(_alone) = parts.table.seat_alone((account, id)) else { return Ok(false) };
    // Since it was listed, it may have been opened, continued and left again.
    if !parts.records.discard_upload(account, id, blob, Some(before)).await? {
        return Ok(false);
    }
    upload::remove_bytes(parts, upload).await?;
    Ok(true)
}

/// Whether no batch follows on one of `listed`. A stop does not wait for the rest.
fn is_last(parts: &Parts, listed: usize) -> bool {
    listed < BATCH || parts.shutdown.has_begun()
}

async fn collect(parts: &Parts, now: Timestamp) -> Result<usize, ResourceError> {
    let before = now.before(parts.config.blob_grace());
    let mut collected = 0;
    for _ in 0..BATCHES {
        let batch = parts.records.unreferenced_blobs(before, BATCH).await?;
        let listed = batch.len();
        for blob in batch {
            if parts.records.delete_unreferenced_blob(blob).await? {
                parts.depot.delete(blob, Variant::Original).await?;
                parts.depot.delete(blob, Variant::Thumbnail).await?;
                collected += 1;
            }
        }
        if is_last(parts, listed) {
            break;
        }
    }
    Ok(collected)
}

/// Deletes files that the store does not know and that have not changed for the time of grace.
async fn delete_orphans(
    parts: &Parts,
    places: &mut Places,
    now: Timestamp,
) -> Result<usize, ResourceError> {
    let before = now.before(parts.config.blob_grace());
    let mut orphans = 0;
    let staged = next_staged(parts, places).await?;
    let unneeded = match &parts.incoming {
        Incoming::Folder(_) => unknown(parts, staged, before).await?,
        Incoming::Spool(lane) => {
            let before = now.before(SPOOLED_AT_REST);
            let mut unneeded = unknown(parts, staged.clone(), before).await?;
            release_at_rest(parts, lane, &staged, before).await?;
            unneeded.extend(complete_elsewhere(parts, staged, before).await?);
            unneeded
        }
    };
    for blob in unneeded {
        parts.incoming.remove(blob).await?;
        orphans += 1;
    }
    for variant in [Variant::Original, Variant::Thumbnail] {
        for blob in unknown(parts, next_objects(parts, places, variant).await?, before).await? {
            parts.depot.delete(blob, variant).await?;
            orphans += 1;
        }
    }
    Ok(orphans)
}

/// Releases what was kept of uploads, at rest here since before `before`, for those who follow them.
async fn release_at_rest(
    parts: &Parts,
    lane: &Lane,
    found: &[Found],
    before: Timestamp,
) -> Result<(), ResourceError> {
    for file in found.iter().filter(|file| file.changed < before) {
        kept::release_idle(parts, lane, file.blob).await?;
    }
    Ok(())
}

/// Releases what an earlier process has kept here of uploads: this one does not count it.
pub(crate) async fn release_found(parts: Arc<Parts>) {
    let Incoming::Spool(lane) = &parts.incoming else { return };
    let released = async {
        let mut listing = parts.incoming.list().await?;
        loop {
            let page = on_disk("list uploads", move || {
                listing.next_page(NAMES).map(|page| (page, listing))
            });
            let (page, rest) = page.await?;
            for file in &page {
                kept::release_idle(&parts, lane, file.blob).await?;
            }
            if page.len() < NAMES {
                return Ok::<_, ResourceError>(());
            }
            listing = rest;
        }
    };
    let released = tokio::select! {
        released = released => released,
        () = parts.shutdown.begun() => return,
    };
    if let Err(error) = released {
        // The rounds find it, once it has been at rest.
        tracing::warn!(error.cause = %error, "what was kept of uploads stays for now");
    }
}

/// Which of these uploads, at rest here since before `before`, are blobs by now: another node went
/// on with them.
async fn complete_elsewhere(
    parts: &Parts,
    found: Vec<Found>,
    before: Timestamp,
) -> Result<Vec<BlobId>, ResourceError> {
    let mut complete = Vec::new();
    for file in found.into_iter().filter(|file| file.changed < before) {
        if parts.records.blob(file.blob).await?.is_some() {
            complete.push(file.blob);
        }
    }
    Ok(complete)
}

async fn unknown(
    parts: &Parts,
    found: Vec<Found>,
    before: Timestamp,
) -> Result<Vec<BlobId>, ResourceError> {
    let old = found.into_iter().filter(|file| file.changed < before);
    let mut names: Vec<BlobId> = old.map(|file| file.blob).collect();
    if names.is_empty() {
        return Ok(names);
    }
    let known = parts.records.known_blobs(&names).await?;
    let known: HashSet<BlobId> = known.into_iter().collect();
    names.retain(|name| !known.contains(name));
    Ok(names)
}

async fn next_staged(parts: &Parts, places: &mut Places) -> Result<Vec<Found>, ResourceError> {
    let mut listing = match places.staged.take() {
        Some(listing) => listing,
        None => parts.incoming.list().await?,
    };
    let page =
        on_disk("list uploads", move || listing.next_page(NAMES).map(|page| (page, listing)));
    let (page, listing) = page.await?;
    places.staged = (page.len() == NAMES).then_some(listing);
    Ok(page)
}

async fn next_objects(
    parts: &Parts,
    places: &mut Places,
    variant: Variant,
) -> Result<Vec<Found>, ResourceError> {
    let place = match variant {
        Variant::Original => &mut places.originals,
        Variant::Thumbnail => &mut places.thumbnails,
    };
    let mut listing = place.take().unwrap_or_else(|| parts.depot.list(variant));
    let page = listing.next_page(NAMES).await?;
    *place = (page.len() == NAMES).then_some(listing);
    Ok(page)
}
