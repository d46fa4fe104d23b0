//! Serving and fetching, with honest, broken, silent and lying peers.

use bao_tree::{ChunkNum, ChunkRanges};

use super::*;

#[tokio::test]
async fn a_release_is_fetched_whole() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(1)).await;
    let stats = fetch(&reader, dial(&author), &all(release.root)).await.unwrap();
    release.assert_whole(&reader).await;
    assert_eq!(stats.payload, release.bytes() + 32 * release.children.len() as u64);
    assert!(stats.received < stats.payload + stats.payload / 50 + 4096, "{stats:?}");
    reader.blobs.shutdown().await;
    author.blobs.shutdown().await;
}

#[tokio::test]
async fn a_whole_blob_is_encoded_as_the_library_does_and_a_rotten_one_not_at_all() {
    let node = Node::new().await;
    let group = usize::try_from(GROUP_BYTES).unwrap();
    let used = encode::Used::default();
    for len in [1, 1_024, group - 1, group, group + 1, 3 * group + 7, 8 * group, 9 * group + 1_025, SEGMENT + 1] {
        let bytes = noise(len as u64, len);
        let id = node.blobs.import().add(bytes.clone()).await.unwrap().id;
        let encoded = async |ranges: ChunkRanges| {
            let (to, mut pieces) = tokio::sync::mpsc::channel(100);
            let layout = node.blobs.0.layout.clone();
            let again = used.clone();
            let encode = move || encode::complete(&layout, id, len as u64, &ranges, to, &again);
            open::blocking(encode).await?;
            let mut encoded = Vec::new();
            while let Some(piece) = pieces.recv().await {
                encoded.extend_from_slice(&piece);
                used.give_back(piece);
            }
            Ok::<_, io::Error>(encoded)
        };
        // Into buffers that hold what was encoded before.
        let library = encoded(ChunkRanges::from(..ChunkNum::chunks(len as u64))).await.unwrap();
        assert!(encoded(ChunkRanges::all()).await.unwrap() == library, "{len}");
        for file in [node.blobs.0.layout.data_file(id), node.blobs.0.layout.outboard_file(id)] {
            let Ok(sound) = std::fs::read(&file) else { continue };
            if let Some(last) = sound.len().checked_sub(1) {
                let mut rotten = sound.clone();
                rotten[last] ^= 1;
                std::fs::write(&file, rotten).unwrap();
                assert!(encoded(ChunkRanges::all()).await.is_err(), "{len}");
                std::fs::write(&file, &sound[..last]).unwrap();
                assert!(encoded(ChunkRanges::all()).await.is_err(), "{len}");
                std::fs::write(&file, sound).unwrap();
            }
        }
    }
    node.blobs.shutdown().await;
}

#[tokio::test]
async fn what_comes_is_given_once_to_whoever_listens() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(60)).await;
    let listening = reader.blobs.listen();
    fetch(&reader, dial(&author), &all(release.root)).await.unwrap();
    for (id, bytes) in release.children.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        assert_eq!(listening.take(*id).unwrap().concat(), bytes[..]);
        assert_eq!(listening.take(*id), None);
    }
    // A part of a blob is not the blob, and nobody listens any more.
    let (id, part) = (release.children[1].0, Child { index: 1, ranges: Ranges::all().first_chunk(), size: None });
    fetch(&reader, dial(&author), &Request { root: release.root, parts: Parts::Children(vec![part]) }).await.unwrap();
    assert_eq!(listening.take(id), None);
    drop(listening);
    let deaf = Node::new().await;
    fetch(&deaf, dial(&author), &all(release.root)).await.unwrap();
    assert_eq!(deaf.blobs.listen().take(id), None);
}

/// As after the end of a collection that removed the same blob just before.
#[tokio::test]
async fn hashes_that_were_removed_while_a_blob_came_are_written_again() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(70)).await;
    let path = reader.blobs.0.layout.outboard_file(release.children[1].0);
    let mut removed = false;
    let meddle: Meddle = Box::new(move |offset, _| {
        if !removed && offset > 2 << 20 {
            removed = true;
            std::fs::write(&path, vec![0; 100]).unwrap();
        }
        Ok(())
    });
    fetch(&reader, dial_through(&author, meddle), &all(release.root)).await.unwrap();
    release.assert_whole(&reader).await;
}

#[tokio::test]
async fn after_a_cut_the_rest_is_fetched_and_hardly_anything_twice() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(10)).await;
    let whole = release.bytes();
    for cut in [0, 7, 100, 5_000, 60_000, 1 << 20, 3 << 20, (4 << 20) + 12_345, 6 << 20] {
        let reader = Node::new().await;
        let meddle: Meddle = Box::new(move |offset, piece| {
            piece.truncate(usize::try_from(cut - offset.min(cut)).unwrap());
            if offset + piece.len() as u64 >= cut { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
        });
        let failure = fetch(&reader, dial_through(&author, meddle), &all(release.root)).await.unwrap_err();
        assert!(matches!(failure.error, FetchError::Cut(_) | FetchError::NotFound(_)), "{cut}: {failure:?}");
        let mut received = failure.stats.received;
        // The process may well be killed in between: nothing is closed.
        let request = rest(&reader, release.root).await;
        received += fetch(&reader, dial(&author), &request).await.unwrap().received;
        release.assert_whole(&reader).await;
        assert!(received <= whole + (1 << 20), "cut at {cut}: {received} bytes for {whole}");
    }
}

#[tokio::test]
async fn a_partial_blob_goes_on_after_a_restart() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(20)).await;
    let meddle: Meddle =
        Box::new(|offset, _| if offset > 3 << 20 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) });
    let first = fetch(&reader, dial_through(&author, meddle), &all(release.root)).await.unwrap_err().stats;
    let (reader, opened) = reader.reopen().await;
    assert_eq!((opened.lost, opened.reimported, opened.dropped), (0, 0, 0), "{opened:?}");
    let partial = release.children[1].0;
    let held = reader.blobs.local_bytes(partial).await.unwrap();
    assert!(held > 2 << 20 && !reader.blobs.has(partial).await.unwrap(), "{held}");
    let request = rest(&reader, release.root).await;
    let second = fetch(&reader, dial(&author), &request).await.unwrap();
    release.assert_whole(&reader).await;
    assert!(first.received + second.received <= release.bytes() + (1 << 20));
}

/// A man in the middle flips one bit of the answer. Whatever he hits, the peer is found out at once, nothing wrong is
/// kept, and an honest peer completes what is there.
#[tokio::test]
async fn a_lying_peer_is_found_out_and_nothing_wrong_stays() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(30)).await;
    let answer = fetch(&Node::new().await, dial(&author), &all(release.root)).await.unwrap().received;
    let seeds = (0..24_u64).map(|case| u64::from_le_bytes(noise(case, 8)[..].try_into().unwrap()));
    // The beginning (a size, hashes) and places all over.
    let random = seeds.zip(0..).map(|(seed, case)| (if case < 8 { seed % 400 } else { seed % answer }, seed % 8));
    // The sizes that go before both segments; a size that is hardly wrong leaves most of the hashes right.
    let first = 8 + 6 * 32 + 8 + 3_000;
    let second = first + 8 + SEGMENT as u64 + 64 * (SEGMENT as u64 / GROUP_BYTES - 1) + 8;
    let sizes = [first, second].into_iter().flat_map(|at| (0..24).map(move |bit| (at + bit / 8, bit % 8)));
    for (at, bit) in random.chain(sizes) {
        let reader = Node::new().await;
        let meddle: Meddle = Box::new(move |offset, piece| {
            if let Some(byte) = at.checked_sub(offset).and_then(|at| piece.get_mut(usize::try_from(at).unwrap())) {
                *byte ^= 1 << bit;
            }
            Ok(())
        });
        let failure = fetch(&reader, dial_through(&author, meddle), &all(release.root)).await.unwrap_err();
        // A changed size may also exceed the limit or make the answer look cut; a changed hash or byte never passes.
        let found_out =
            matches!(failure.error, FetchError::Corrupt(_) | FetchError::TooLarge { .. } | FetchError::Cut(_));
        assert!(found_out, "flip at {at}: {failure:?}");
        // A byte of content is found out in its group; a size that is a little wrong only at the blob's end, but all
        // that came before it was right.
        let late = failure.stats.received > at + GROUP_BYTES + 64 * 16 + 8;
        assert!(!late || (second..second + 8).contains(&at), "flip at {at}: {failure:?}");
        for (id, bytes) in &release.children {
            let (held, size) = reader.blobs.held_of(*id).await.unwrap();
            for range in held.within(size) {
                let read = reader.blobs.read_held(*id, range.clone()).await.unwrap();
                assert_eq!(read, bytes[range.start as usize..range.end as usize], "flip at {at}");
            }
        }
        let request = rest(&reader, release.root).await;
        fetch(&reader, dial(&author), &request).await.unwrap();
        release.assert_whole(&reader).await;
    }
}

#[tokio::test]
async fn absurd_sizes_are_refused_before_anything_is_allocated() {
    let (reader, id) = (Node::new().await, BlobId::of(b"x"));
    for size in [0, 17 << 20, 1 << 62, u64::MAX - 1, u64::MAX] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        tokio::spawn(async move {
            theirs.write_all(&size.to_le_bytes()).await.unwrap();
            theirs.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let request = Request { root: id, parts: Parts::Blob(Ranges::all()) };
        let failure = fetch(&reader, ours.compat(), &request).await.unwrap_err();
        assert!(matches!(failure.error, FetchError::TooLarge { .. } | FetchError::Corrupt(_)), "{size}: {failure:?}");
    }
}

#[tokio::test]
async fn a_silent_peer_stalls_the_fetch_and_what_came_stays() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(40)).await;
    // Where something comes first, a busy machine must not take so long between two pieces of it.
    for (quiet_after, idle) in [(0_u64, Duration::from_millis(300)), (2 << 20, Duration::from_secs(5))] {
        let reader = Node::new().await;
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let mut server = dial(&author).into_inner();
        let silent = tokio::spawn(async move {
            let mut request = Vec::new();
            theirs.read_to_end(&mut request).await.unwrap();
            server.write_all(&request).await.unwrap();
            server.shutdown().await.unwrap();
            tokio::io::copy(&mut server.take(quiet_after), &mut theirs).await.unwrap();
            std::future::pending::<()>().await;
        });
        let options = FetchOptions { idle, ..FetchOptions::default() };
        let pins = reader.blobs.pins();
        let failure = reader.blobs.fetch(ours.compat(), &all(release.root), &options, &pins, |_| {}).await.unwrap_err();
        assert!(matches!(failure.error, FetchError::Stalled), "{failure:?}");
        assert!(failure.stats.payload + (64 << 10) > quiet_after, "{failure:?}");
        silent.abort();
        let request = rest(&reader, release.root).await;
        fetch(&reader, dial(&author), &request).await.unwrap();
        release.assert_whole(&reader).await;
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_given_up() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(50)).await;
    let (mut ours, theirs) = tokio::io::duplex(1 << 10);
    let request = iroh_blobs::protocol::Request::Get(iroh_blobs::protocol::GetRequest::all(hash(release.root)));
    let serving = author.blobs.serve(theirs.compat(), Duration::from_millis(300), |_| Access::Sequence);
    let asking = async {
        ours.write_all(&postcard_bytes(&request)).await.unwrap();
        ours.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        stats = serving => assert!(stats.outcome.is_err(), "{stats:?}"),
        () = asking => unreachable!(),
    }
}

/// The bytes of `GetRequest::all` for a root, as the library's own getter writes them.
fn postcard_bytes(request: &iroh_blobs::protocol::Request) -> Vec<u8> {
    let iroh_blobs::protocol::Request::Get(get) = request else { unreachable!() };
    // Request kind 0, the hash, then one element: from child 0 on, one open range from chunk 0.
    [&[0][..], get.hash.as_bytes(), &[1, 0, 1, 0]].concat()
}

#[tokio::test]
async fn only_granted_roots_are_served() {
    let author = Node::new().await;
    let release = Release::publish(&author, contents(60)).await;
    let child = release.children[0].0;
    let root = release.root;
    let reader = Node::new().await;
    let bare = Request { root: child, parts: Parts::Blob(Ranges::all()) };
    let only_root = move |id: &BlobId| if *id == root { Access::Sequence } else { Access::None };
    let failure = fetch(&reader, dial_for(&author, only_root), &bare).await.unwrap_err();
    assert!(matches!(failure.error, FetchError::NotFound(id) if id == child), "{failure:?}");
    // Served as a blob, a sequence gives its own bytes and none of the blobs that it names.
    let as_blob = |_: &BlobId| Access::Blob;
    let failure = fetch(&reader, dial_for(&author, as_blob), &all(root)).await.unwrap_err();
    assert!(matches!(failure.error, FetchError::NotFound(_)), "{failure:?}");
    fetch(&reader, dial_for(&author, as_blob), &Request { root, parts: Parts::Sequence }).await.unwrap();
    assert_eq!(reader.blobs.missing(root).await.unwrap().n_children, 6);
    // What is granted and not here looks the same.
    let unknown = Request { root: BlobId::of(b"unknown"), parts: Parts::All };
    let failure = fetch(&reader, dial(&author), &unknown).await.unwrap_err();
    assert!(matches!(failure.error, FetchError::NotFound(_)), "{failure:?}");
}

#[tokio::test]
async fn other_requests_than_get_are_refused() {
    let author = Node::new().await;
    // Kinds of the library's protocol: observe, two reserved, push, get many; then noise.
    for kind in [1_u8, 2, 3, 4, 5, 6, 200] {
        let (mut ours, theirs) = tokio::io::duplex(1 << 10);
        let asking = async {
            ours.write_all(&[&[kind][..], &noise(u64::from(kind), 40)].concat()).await.unwrap();
            ours.shutdown().await.unwrap();
            let mut answer = Vec::new();
            ours.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let serving = author.blobs.serve(theirs.compat(), IDLE, |_| Access::Sequence);
        let (stats, answer) = tokio::join!(serving, asking);
        assert!(matches!(stats.outcome, Err(ServeError::Request)), "{kind}: {stats:?}");
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn a_peer_with_part_of_a_release_serves_that_part() {
    let (author, half, reader) = (Node::new().await, Node::new().await, Node::new().await);
    let release = Release::publish(&author, contents(70)).await;
    fetch(&half, dial(&author), &Request { root: release.root, parts: Parts::Sequence }).await.unwrap();
    fetch(&reader, dial(&author), &Request { root: release.root, parts: Parts::Sequence }).await.unwrap();
    let child = |index, ranges| Child { index, ranges, size: None };
    let request = |children| Request { root: release.root, parts: Parts::Children(children) };
    let group = 10 * GROUP_BYTES..20 * GROUP_BYTES;
    let part = vec![child(1, Ranges::one(group.clone())), child(3, Ranges::all())];
    fetch(&half, dial(&author), &request(part.clone())).await.unwrap();
    let stats = fetch(&reader, dial(&half), &request(part)).await.unwrap();
    assert_eq!(stats.payload, 10 * GROUP_BYTES + (SEGMENT / 2 + 77) as u64);
    // What the half peer lacks ends the answer; what came before stays.
    let more = vec![child(3, Ranges::all()), child(4, Ranges::all()), child(5, Ranges::all())];
    let failure = fetch(&reader, dial(&half), &request(more)).await.unwrap_err();
    assert!(matches!(failure.error, FetchError::Cut(_)), "{failure:?}");
    let lying_size = vec![Child { index: 5, ranges: Ranges::all(), size: Some(299_999) }];
    let failure = fetch(&reader, dial(&author), &request(lying_size)).await.unwrap_err();
    assert!(matches!(failure.error, FetchError::Corrupt(_)), "{failure:?}");
}

#[tokio::test]
async fn a_segment_is_spliced_from_fetched_ranges_and_local_copies() {
    let (author, reader) = (Node::new().await, Node::new().await);
    let old = noise(80, SEGMENT);
    let mut new = old.to_vec();
    let changed = 1_000_003..1_050_001_usize;
    new[changed.clone()].copy_from_slice(&noise(81, changed.len()));
    let new: Bytes = new.into();
    let release = Release::publish(&author, vec![noise(82, 100), new.clone()]).await;
    let (id, old_id) = (BlobId::of(&new), BlobId::of(&old));
    let import = reader.blobs.import();
    import.add(old.clone()).await.unwrap();
    fetch(&reader, dial(&author), &Request { root: release.root, parts: Parts::Sequence }).await.unwrap();
    let ranges = Ranges::one(changed.start as u64..changed.end as u64);
    let fetched = ranges.within(SEGMENT as u64)[0].clone();
    let parts = Parts::Children(vec![Child { index: 1, ranges, size: Some(SEGMENT as u64) }]);
    let stats = fetch(&reader, dial(&author), &Request { root: release.root, parts }).await.unwrap();
    assert!(stats.received < 100_000, "{stats:?}");
    let piece = |at: std::ops::Range<u64>, source| Piece { at, source };
    let from_old = |offset| Source::Blob { id: old_id, offset };
    let pieces = [
        piece(0..fetched.start, from_old(0)),
        piece(fetched.clone(), Source::Fetched),
        piece(fetched.end..SEGMENT as u64, Source::Bytes(old.slice(fetched.end as usize..))),
    ];
    let (blobs, size, pins) = (&reader.blobs, SEGMENT as u64, import.pins());
    let wrong = [piece(0..size, from_old(0))];
    assert!(matches!(blobs.splice(id, size, &wrong, pins).await, Err(SpliceError::Mismatch(_))));
    assert!(matches!(blobs.splice(id, size, &pieces[1..], pins).await, Err(SpliceError::Gap(_))));
    let not_held = [piece(0..size, Source::Fetched)];
    assert!(matches!(blobs.splice(id, size, &not_held, pins).await, Err(SpliceError::Blob(BlobError::Range { .. }))));
    assert!(!blobs.has(id).await.unwrap());
    blobs.splice(id, size, &pieces, pins).await.unwrap();
    assert_eq!(blobs.read_segment(id).await.unwrap(), new);
    assert_eq!(blobs.read_at(id, 1_000_000, 100).await.unwrap(), new.slice(1_000_000..1_000_100));
    let request = rest(&reader, release.root).await;
    fetch(&reader, dial(&author), &request).await.unwrap();
    release.assert_whole(&reader).await;
    // And it is served on like any other.
    let third = Node::new().await;
    fetch(&third, dial(&reader), &all(release.root)).await.unwrap();
    release.assert_whole(&third).await;
}

#[tokio::test]
async fn two_peers_fill_one_segment_at_once() {
    let (first, second, reader) = (Node::new().await, Node::new().await, Node::new().await);
    let release = Release::publish(&first, contents(90)).await;
    Release::publish(&second, contents(90)).await;
    fetch(&reader, dial(&first), &Request { root: release.root, parts: Parts::Sequence }).await.unwrap();
    let half = (SEGMENT / 2) as u64;
    let request = |range: std::ops::Range<u64>| Request {
        root: release.root,
        parts: Parts::Children(vec![Child { index: 1, ranges: Ranges::one(range), size: Some(2 * half) }]),
    };
    let (low, high) = (request(0..half + GROUP_BYTES), request(half..2 * half));
    let (low, high) = tokio::join!(fetch(&reader, dial(&first), &low), fetch(&reader, dial(&second), &high));
    assert_eq!(low.unwrap().payload + high.unwrap().payload, 2 * half + GROUP_BYTES);
    assert_eq!(reader.blobs.read_segment(release.children[1].0).await.unwrap(), release.children[1].1);
}
