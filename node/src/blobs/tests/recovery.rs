//! Collection, lost and damaged databases, unclean stops, rot.

use syncra_protocol::limits;

use super::*;

#[tokio::test]
async fn adding_tells_new_from_held_and_heals_rot() {
    let node = Node::new().await;
    let (one, two) = (noise(1, SEGMENT), noise(2, 5_000));
    let import = node.blobs.import();
    assert!(import.add(one.clone()).await.unwrap().new);
    assert!(!import.add(one.clone()).await.unwrap().new);
    assert!(import.add(two.clone()).await.unwrap().new);
    let totals = import.totals();
    assert_eq!((totals.new_blobs, totals.new_bytes, totals.held_blobs), (2, SEGMENT as u64 + 5_000, 0));
    // Nobody's fault but the disk's: the file rots, and publishing the same bytes again puts it right.
    let id = BlobId::of(&two);
    let file = node.blobs.0.layout.data_file(id);
    std::fs::write(&file, noise(3, 5_000)).unwrap();
    assert!(matches!(node.blobs.verify(id).await, Err(BlobError::Damaged(_))));
    assert!(node.blobs.import().add(two.clone()).await.unwrap().new);
    node.blobs.verify(id).await.unwrap();
    assert_eq!(node.blobs.read(id, 5_000).await.unwrap(), two);
    assert!(matches!(node.blobs.read(id, 4_999).await, Err(BlobError::TooLarge { .. })));
    // Or it is thrown away, to be fetched again.
    std::fs::write(&file, noise(3, 5_000)).unwrap();
    node.blobs.discard(&[id]).await.unwrap();
    assert!(matches!(node.blobs.read(id, 5_000).await, Err(BlobError::Missing(_))));
    assert_eq!(node.blobs.verify(BlobId::of(&one)).await.map_err(|error| error.to_string()), Ok(()));
}

#[tokio::test]
async fn ranges_are_copied_into_open_files() {
    use std::io::{Seek as _, SeekFrom};
    let node = Node::new().await;
    let bytes = noise(4, SEGMENT);
    let id = node.blobs.import().add(bytes.clone()).await.unwrap().id;
    let path = node.dir.path().join("target");
    let mut target = std::fs::File::create_new(&path).unwrap();
    target.seek(SeekFrom::Start(10)).unwrap();
    let target = node.blobs.copy_to(id, 1_000, 50_000, target).await.unwrap();
    node.blobs.copy_to(id, 0, 7, target).await.unwrap();
    let written = std::fs::read(path).unwrap();
    assert_eq!(written, [&[0; 10][..], &bytes[1_000..51_000], &bytes[..7]].concat());
    let past_the_end = std::fs::File::create(node.dir.path().join("other")).unwrap();
    let copied = node.blobs.copy_to(id, SEGMENT as u64, 1, past_the_end).await;
    assert!(matches!(copied, Err(BlobError::Range { .. })));
}

#[tokio::test]
async fn collection_removes_exactly_what_nothing_names() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let keep = Release::publish(&author, contents(100)).await;
    let go = Release::publish(&author, contents(200)).await;
    let import = author.blobs.import();
    let pinned = import.add(noise(300, 70_000)).await.unwrap().id;
    let live = ids(&keep);
    // An aborted collection takes nothing.
    drop(author.blobs.collect().await);
    go.assert_whole(&author).await;
    let before = author.blobs.disk_usage().await.unwrap();
    let freed = author.blobs.collect().await.sweep(&live).await.unwrap();
    assert_eq!(freed.blobs, ids(&go).len() as u64 - 1, "all but the empty blob, which has no file");
    keep.assert_whole(&author).await;
    for id in ids(&go).into_iter().filter(|id| *id != BlobId::of(b"")) {
        assert!(!author.blobs.has(id).await.unwrap());
        assert!(author.blobs.0.layout.files_of(id).iter().all(|file| !file.exists()));
    }
    assert!(author.blobs.has(pinned).await.unwrap());
    let after = author.blobs.disk_usage().await.unwrap();
    assert!(before.bytes - after.bytes >= go.bytes(), "{before:?} {after:?} {freed:?}");
    drop(import);
    assert_eq!(author.blobs.collect().await.sweep(&live).await.unwrap().blobs, 1);
    assert!(!author.blobs.has(pinned).await.unwrap());
    // What went can come again, whole or in parts.
    let again = Release::publish(&author, contents(200)).await;
    fetch(&reader, dial(&author), &all(again.root)).await.unwrap();
    again.assert_whole(&reader).await;
}

/// While a large collection runs, an import that needs blobs it has not come to yet, and is named and unpinned at
/// once, keeps them.
#[tokio::test]
async fn what_is_pinned_during_a_collection_stays() {
    let node = Node::new().await;
    let release = Release::publish(&node, (0..300).map(|seed| noise(seed, 600)).collect()).await;
    let collection = node.blobs.collect().await;
    let import = async {
        let import = node.blobs.import();
        for (_, bytes) in &release.children {
            import.add(bytes.clone()).await.unwrap();
        }
        import.add(noise(1000, 5_000)).await.unwrap();
    };
    let live = HashSet::new();
    let (freed, ()) = tokio::join!(collection.sweep(&live), import);
    assert!(freed.unwrap().blobs <= 301);
    // Whatever went before the import came to it was added anew.
    for (id, bytes) in &release.children {
        assert_eq!(node.blobs.read(*id, 600).await.unwrap(), bytes);
    }
    assert!(node.blobs.has(BlobId::of(&noise(1000, 5_000))).await.unwrap());
    assert_eq!(node.blobs.collect().await.sweep(&live).await.unwrap().blobs, 301);
}

#[tokio::test]
async fn collection_takes_partial_blobs_and_they_can_be_fetched_anew() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(400)).await;
    fetch(&reader, dial(&author), &Request { root: release.root, parts: Parts::Sequence }).await.unwrap();
    let part = Child { index: 1, ranges: Ranges::one(0..1 << 20), size: None };
    let request = Request { root: release.root, parts: Parts::Children(vec![part]) };
    let options = FetchOptions::default();
    let pins = reader.blobs.pins();
    reader.blobs.fetch(dial(&author), &request, &options, &pins, |_| {}).await.unwrap();
    let live = HashSet::from([release.root]);
    assert_eq!(reader.blobs.collect().await.sweep(&live).await.unwrap().blobs, 0, "a pin holds it");
    drop(pins);
    assert_eq!(reader.blobs.collect().await.sweep(&live).await.unwrap().blobs, 1);
    assert_eq!(reader.blobs.local_bytes(release.children[1].0).await.unwrap(), 0);
    let request = rest(&reader, release.root).await;
    fetch(&reader, dial(&author), &request).await.unwrap();
    release.assert_whole(&reader).await;
    let (reader, opened) = reader.reopen().await;
    assert_eq!((opened.lost, opened.reimported, opened.dropped), (0, 0, 0), "{opened:?}");
    release.assert_whole(&reader).await;
}

#[tokio::test]
async fn without_its_database_everything_complete_is_served_again() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(500)).await;
    author.blobs.shutdown().await;
    std::fs::remove_file(author.blobs.0.layout.database()).unwrap();
    // A part of a blob and something that is not what its name says lie there too.
    let wrong = author.blobs.0.layout.data_file(BlobId::of(b"other bytes"));
    std::fs::write(&wrong, b"these bytes").unwrap();
    let (author, opened) = author.open_again().await;
    assert_eq!(opened.database, DatabaseState::Missing);
    assert_eq!((opened.reimported, opened.dropped, opened.lost), (6, 1, 0));
    release.assert_whole(&author).await;
    let reader = Node::new().await;
    fetch(&reader, dial(&author), &all(release.root)).await.unwrap();
    release.assert_whole(&reader).await;
}

#[tokio::test]
async fn a_damaged_database_opens_and_own_blobs_are_still_there() {
    let mut author = Node::new().await;
    let release = Release::publish(&author, (0..12).map(|seed| noise(seed, 20_000)).collect()).await;
    for case in 0..24_u64 {
        author.blobs.shutdown().await;
        let path = author.blobs.0.layout.database();
        let mut bytes = std::fs::read(&path).unwrap();
        let dice = noise(case, 16);
        let at = u64::from_le_bytes(dice[..8].try_into().unwrap()) as usize;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        match case % 4 {
            0 => bytes.truncate(at % bytes.len()),
            1 => bytes[at % 512] ^= 1 << (dice[8] % 8),
            2 => bytes[at % used] ^= 1 << (dice[8] % 8),
            _ => {
                let start = at % used;
                let end = (start + 4096).min(bytes.len());
                bytes[start..end].fill(dice[9]);
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let opened;
        (author, opened) = author.open_again().await;
        assert_eq!(opened.lost, 0, "case {case}: {opened:?}");
        release.assert_whole(&author).await;
    }
    fetch(&Node::new().await, dial(&author), &all(release.root)).await.unwrap();
    // Of all the damaged databases only the newest are kept.
    let names = std::fs::read_dir(author.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let kept = names.filter(|name| name.to_string_lossy().starts_with("blobs.db.damaged-")).count();
    assert!((1..=3).contains(&kept), "{kept}");
}

#[tokio::test]
async fn an_interrupted_salvage_goes_on() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(600)).await;
    author.blobs.shutdown().await;
    let layout = author.blobs.0.layout.clone();
    // As if killed half way: one file moved to the salvage directory and not imported yet.
    std::fs::create_dir(layout.salvage()).unwrap();
    let data = layout.data_file(release.children[1].0);
    std::fs::rename(&data, layout.salvage().join(data.file_name().unwrap())).unwrap();
    let (author, opened) = author.open_again().await;
    assert_eq!((opened.lost, opened.reimported), (1, 1), "{opened:?}");
    release.assert_whole(&author).await;
    assert!(!layout.salvage().exists());
}

/// After a power cut the database may name a blob whose file never reached the disk. After an unclean stop those are
/// looked for, and only among what was not synced.
#[tokio::test]
async fn after_an_unclean_stop_hollow_blobs_are_found() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(700)).await;
    let layout = author.blobs.0.layout.clone();
    let import = author.blobs.import();
    let (zeroed, short, fine) = (noise(710, 50_000), noise(711, 50_000), noise(712, 50_000));
    let unproven = noise(713, 50_000);
    for bytes in [&zeroed, &short, &fine, &unproven] {
        import.add(bytes.clone()).await.unwrap();
    }
    author.blobs.shutdown().await;
    std::fs::write(layout.unclean(), b"").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    std::fs::OpenOptions::new().write(true).open(layout.unclean()).unwrap().set_modified(long_ago).unwrap();
    std::fs::write(layout.data_file(BlobId::of(&zeroed)), vec![0; 50_000]).unwrap();
    std::fs::write(layout.data_file(BlobId::of(&short)), b"").unwrap();
    let outboard = layout.outboard_file(BlobId::of(&unproven));
    let len = std::fs::metadata(&outboard).unwrap().len();
    std::fs::write(&outboard, vec![0; usize::try_from(len).unwrap()]).unwrap();
    let (author, opened) = author.open_again().await;
    assert_eq!(opened.lost, 3, "{opened:?}");
    assert!(author.blobs.has(BlobId::of(&fine)).await.unwrap());
    assert!(!author.blobs.has(BlobId::of(&unproven)).await.unwrap());
    assert!(!author.blobs.has(BlobId::of(&zeroed)).await.unwrap());
    release.assert_whole(&author).await;
    assert!(author.blobs.import().add(zeroed).await.unwrap().new);
}

/// What a killed process leaves is what its files hold at that moment: a copy of the directory is such a moment.
#[tokio::test]
async fn a_killed_process_loses_no_complete_blob_and_goes_on_with_partial_ones() {
    for committed in [true, false] {
        let (author, reader) = (Node::new().await, Node::new().await);
        // It goes to the store in parts, and large enough that some of it is written when the peer pauses.
        let large = limits::SEGMENT_BYTES + 5_000;
        let release = Release::publish(&author, vec![noise(900, SEGMENT), noise(901, large)]).await;
        // The first blob is complete, of the second some is here, and the peer holds its breath.
        let pause_at = 2 * SEGMENT as u64;
        let options = FetchOptions { idle: IDLE, blob_bytes: large as u64 };
        let (reached, mut paused) = tokio::sync::mpsc::channel(1);
        let meddle: Meddle = Box::new(move |offset, _| {
            if offset < pause_at {
                return Ok(());
            }
            reached.try_send(()).unwrap();
            // The connection is gone, but the reader does not know yet.
            Err(io::ErrorKind::ConnectionReset.into())
        });
        let (kept_open, stream) = hold_open(dial_through(&author, meddle));
        // The store commits by itself after a while, so what it had committed before is kept: a kill in between leaves that.
        reader.blobs.0.store.sync_db().await.unwrap();
        let database = std::fs::read(reader.blobs.0.layout.database()).unwrap();
        let (blobs, request) = (reader.blobs.clone(), all(release.root));
        let (options, allowed) = (options.clone(), options);
        let fetching =
            tokio::spawn(async move { blobs.fetch(stream, &request, &options, &blobs.pins(), |_| {}).await });
        paused.recv().await.unwrap();
        let second = release.children[1].0;
        while reader.blobs.local_bytes(second).await.unwrap() < SEGMENT as u64 / 8 {
            tokio::task::yield_now().await;
        }
        if committed {
            reader.blobs.0.store.sync_db().await.unwrap();
        }
        let copy = tempfile::tempdir().unwrap();
        copy_dir(reader.dir.path(), copy.path());
        if !committed {
            std::fs::write(files::Layout::new(copy.path()).database(), database).unwrap();
        }
        fetching.abort();
        drop(kept_open);
        let (blobs, opened) = Blobs::open(copy.path()).await.unwrap();
        let survivor = Node { blobs, dir: copy };
        assert_eq!(opened.lost, 0, "{opened:?}");
        let (first, bytes) = &release.children[0];
        assert_eq!(survivor.blobs.read_segment(*first).await.unwrap(), bytes);
        assert_eq!(opened.resumed, u64::from(!committed), "{opened:?}");
        assert!(survivor.blobs.local_bytes(second).await.unwrap() >= SEGMENT as u64 / 8);
        let request = rest(&survivor, release.root).await;
        let pins = survivor.blobs.pins();
        survivor.blobs.fetch(dial(&author), &request, &allowed, &pins, |_| {}).await.unwrap();
        release.assert_whole(&survivor).await;
    }
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_in_use_is_not_taken_for_damaged() {
    let node = Node::new().await;
    let release = Release::publish(&node, contents(800)).await;
    assert!(matches!(Blobs::open(node.dir.path()).await, Err(OpenError::Busy(_))));
    release.assert_whole(&node).await;
    node.blobs.shutdown().await;
    assert!(matches!(node.blobs.has(release.root).await, Err(BlobError::Stopped)));
    assert!(matches!(node.blobs.import().add(noise(1, 10)).await, Err(BlobError::Stopped)));
    assert!(matches!(node.blobs.collect().await.sweep(&HashSet::new()).await, Err(BlobError::Stopped)));
}

#[test]
fn a_full_disk_is_told_apart() {
    let full = BlobError::io("adding a blob")(io::ErrorKind::StorageFull.into());
    assert!(matches!(full, BlobError::StorageFull { .. }));
    let through_the_store = iroh_blobs::api::RequestError::from(io::Error::from_raw_os_error(28));
    let full = BlobError::store("adding a blob")(through_the_store);
    assert!(cfg!(windows) || matches!(full, BlobError::StorageFull { .. }), "{full:?}");
}
