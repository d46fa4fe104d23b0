//! Tests that pack whole trees, receive them again and update them: what the format promises, told as stories.

use std::collections::{BTreeMap, HashMap};

use super::splice::{Held, Piece, SplicePlan, neighbours, plan};
use super::*;

mod property;
mod updates;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Small segments, so that stories with a few MiB have many.
fn fine() -> PackParams {
    PackParams::new(256 << 10, 4 << 10).unwrap()
}

/// `len` bytes that nothing compresses or repeats.
fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text).unwrap()
}

/// A tree as its author has it: path → (bytes, executable), in tree order because of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Files(BTreeMap<Vec<String>, (Vec<u8>, bool)>);

impl Files {
    fn with(mut self, text: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.put(text, bytes.as_ref().to_vec());
        self
    }

    fn put(&mut self, text: &str, bytes: Vec<u8>) {
        self.0.insert(path(text).parts().map(str::to_owned).collect(), (bytes, false));
    }

    fn make_executable(&mut self, text: &str) {
        self.0.get_mut(&path(text).parts().map(str::to_owned).collect::<Vec<_>>()).unwrap().1 = true;
    }

    /// Packs, feeding every file in slices of `step` bytes.
    fn pack_in_steps(&self, params: PackParams, step: usize) -> Release {
        let mut packer = Packer::new(params);
        let mut store = Store::default();
        for (parts, (bytes, executable)) in &self.0 {
            let mut cutter = FileCutter::new(params);
            for slice in bytes.chunks(step) {
                store.put_all(cutter.update(slice));
            }
            let (last, cut) = cutter.finish();
            store.put_all(last);
            store.put_all(packer.add(path(&parts.join("/")), *executable, cut).unwrap());
        }
        let pack = packer.finish().unwrap();
        store.put_all(pack.segments);
        store.0.extend(pack.nodes);
        Release { store, index: pack.index }
    }

    fn pack(&self, params: PackParams) -> Release {
        self.pack_in_steps(params, 64 * KIB)
    }
}

/// Blobs by hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Store(HashMap<BlobId, Vec<u8>>);

impl Store {
    fn put_all(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            assert_eq!(BlobId::of(&segment.bytes), segment.id.hash);
            assert_eq!(segment.bytes.len(), segment.id.size as usize);
            assert_eq!(segment.chunk_list.as_deref().map(BlobId::of), segment.id.chunks);
            self.0.insert(segment.id.hash, segment.bytes);
            self.0.extend(segment.id.chunks.zip(segment.chunk_list));
        }
    }

    fn list(&self, id: BlobId) -> ChunkList {
        ChunkList::decode(&self.0[&id]).unwrap()
    }
}

/// A packed release and all its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Release {
    store: Store,
    index: ContentIndex,
}

impl Release {
    /// What a receiver computes who has the HashSeq and asks for nodes.
    fn received(&self) -> ContentIndex {
        let seq = HashSeq::decode(&self.index.hash_seq().encode()).unwrap();
        assert_eq!(seq.root(), self.index.content_root());
        let mut nodes = NodeSet::new(seq.root_node());
        while let [next, ..] = *nodes.wanted() {
            assert_eq!(nodes.insert(&self.store.0[&next]), Ok(next));
        }
        nodes.derive().unwrap()
    }

    /// Writes every segment's runs into the files, as an unpacker does.
    fn unpack(&self) -> Files {
        let index = self.received();
        assert_eq!(index, self.index);
        let sized = |file: &content::PlacedFile| (vec![0_u8; file.entry.size as usize], file.entry.executable);
        let mut files: Vec<_> = index.files().iter().map(sized).collect();
        for (at, segment) in index.segments().iter().enumerate() {
            let bytes = &self.store.0[&segment.hash];
            for run in index.carried(at) {
                let (to, from, len) = (run.file_offset as usize, run.offset as usize, run.len as usize);
                files[run.file as usize].0[to..to + len].copy_from_slice(&bytes[from..from + len]);
            }
        }
        let names = index.files().iter().map(|file| file.entry.path.parts().map(str::to_owned).collect());
        Files(names.zip(files).collect())
    }

    /// Plans an update to `new` as a node does that holds this release, carries it out, checks every segment.
    fn update_to(&self, new: &Self) -> SplicePlan {
        let missing: Vec<usize> = (0..new.index.segments().len())
            .filter(|at| !self.store.0.contains_key(&new.index.segments()[*at].hash))
            .collect();
        let mut held = Held::new();
        held.add_files(&self.index, |hash| self.store.0.contains_key(hash));
        for at in neighbours(&self.index, &new.index) {
            let segment = self.index.segments()[at];
            assert!(held.add_chunks(&segment, &self.store.list(segment.chunks.unwrap())));
        }
        let first = plan(&new.index, missing.iter().copied(), &held, &HashMap::new());
        let lists: HashMap<_, _> = first.wanted_lists().into_iter().map(|id| (id, new.store.list(id))).collect();
        let plan = plan(&new.index, missing, &held, &lists);
        assert_eq!(plan.wanted_lists(), []);
        assert!(plan.fetch_bytes <= first.fetch_bytes);
        self.carry_out(&plan, new);
        plan
    }

    fn carry_out(&self, plan: &SplicePlan, new: &Self) {
        let (mut copied, mut fetched) = (0, 0);
        for one in &plan.segments {
            let id = new.index.segments()[one.segment];
            let mut made = Vec::new();
            for piece in &one.pieces {
                match piece {
                    Piece::Copy(source) => {
                        let from = source.offset as usize;
                        made.extend_from_slice(&self.store.0[&source.segment][from..from + source.len as usize]);
                        copied += u64::from(source.len);
                    }
                    Piece::Fetch { len } => {
                        let range = made.len()..made.len() + *len as usize;
                        assert_eq!(range.start % splice::RANGE_BYTES as usize, 0);
                        assert!(range.end % splice::RANGE_BYTES as usize == 0 || range.end == id.size as usize);
                        made.extend_from_slice(&new.store.0[&id.hash][range]);
                        fetched += u64::from(*len);
                    }
                }
            }
            assert_eq!(BlobId::of(&made), id.hash);
            let ranges: u64 = one.fetch_ranges().iter().map(|range| range.end - range.start).sum();
            assert_eq!(ranges, one.fetch_bytes);
        }
        assert_eq!((copied, fetched), (plan.copy_bytes, plan.fetch_bytes));
    }
}

#[test]
fn packing_and_unpacking_gives_the_files_back() {
    let mut files = Files::default()
        .with("a-b", "not before a/b in tree order")
        .with("a/b", noise("large", 3 * MIB + 5))
        .with("a/empty", "")
        .with("a/b c/deep/er", noise("small", 70 * KIB))
        .with("run.sh", "#!/bin/sh")
        .with("zeros", vec![0; MIB]);
    files.make_executable("run.sh");
    let release = files.pack(fine());
    assert_eq!(release.unpack(), files);
    assert_eq!(release.index.total_bytes(), files.0.values().map(|(bytes, _)| bytes.len() as u64).sum::<u64>());
    let order: Vec<&str> = release.index.files().iter().map(|file| file.entry.path.as_str()).collect();
    assert_eq!(order, ["a/b", "a/b c/deep/er", "a/empty", "a-b", "run.sh", "zeros"]);
    let found = release.index.find(&path("run.sh")).unwrap();
    assert!(found.entry.executable);
    assert_eq!(release.index.find(&path("a")), None);
}

#[test]
fn how_files_are_fed_changes_nothing() {
    let files = Files::default().with("large", noise("x", MIB)).with("s1", noise("y", 9000)).with("s2", noise("z", 77));
    let whole = files.pack_in_steps(fine(), usize::MAX);
    for step in [1021, 4096, 65_537] {
        assert_eq!(files.pack_in_steps(fine(), step), whole, "step {step}");
    }
    let short = Files::default().with("s", noise("y", 9000));
    assert_eq!(short.pack_in_steps(fine(), 1), short.pack_in_steps(fine(), usize::MAX));
}

#[test]
fn the_tree_id_does_not_depend_on_packing() {
    let files = Files::default().with("large", noise("x", 2 * MIB)).with("small", noise("y", 9000));
    let (coarse, fine) = (files.pack(PackParams::default()), files.pack(fine()));
    assert_eq!(coarse.index.tree_id(), fine.index.tree_id());
    assert_ne!(coarse.index.content_root(), fine.index.content_root());
    let entries: Vec<FileEntry> = fine.index.files().iter().map(|file| file.entry.clone()).collect();
    assert_eq!(tree_id(&entries), Ok(fine.index.tree_id()));
    assert_eq!(tree_id(entries.iter().rev()), Err(OrderError(path("large"))));
}

#[test]
fn every_field_of_a_file_is_part_of_the_tree_id() {
    let file = FileEntry { path: path("a"), executable: false, size: 1, hash: BlobId::of(b"1") };
    let changed = [
        FileEntry { path: path("b"), ..file.clone() },
        FileEntry { executable: true, ..file.clone() },
        FileEntry { size: 2, ..file.clone() },
        FileEntry { hash: BlobId::of(b"2"), ..file.clone() },
    ];
    for other in changed {
        assert_ne!(tree_id([&file]), tree_id([&other]));
    }
}

#[test]
fn segments_are_about_as_large_as_asked_for() {
    let files = Files::default().with("large", noise("big", 24 * MIB));
    let params = fine();
    let index = files.pack(params).index;
    let sizes: Vec<usize> = index.segments().iter().map(|segment| segment.size as usize).collect();
    assert!((60..200).contains(&sizes.len()), "{}", sizes.len());
    let (_, whole) = sizes.split_last().unwrap();
    assert!(whole.iter().all(|size| (params.segment_min()..=params.segment_max()).contains(size)), "{whole:?}");
    let mut many = Files::default();
    for n in 0..3000 {
        many.put(&format!("d{}/f{n}", n % 7), noise(&n.to_string(), 100 + n * 7 % 5000));
    }
    let sizes: Vec<usize> = many.pack(params).index.segments().iter().map(|segment| segment.size as usize).collect();
    assert!((20..60).contains(&sizes.len()), "{sizes:?}");
}

#[test]
fn equal_files_and_directories_are_stored_once() {
    let mut once = Files::default();
    let mut twice = Files::default();
    for n in 0..20 {
        let bytes = noise(&n.to_string(), 30 * KIB * (n + 1));
        once.put(&format!("a/f{n:02}"), bytes.clone());
        twice.put(&format!("a/f{n:02}"), bytes.clone());
        twice.put(&format!("b/f{n:02}"), bytes);
    }
    let (once, twice_) = (once.pack(fine()), twice.pack(fine()));
    assert_eq!(twice_.index.segments(), once.index.segments());
    assert_eq!(twice_.index.stored_bytes() * 2, twice_.index.total_bytes());
    assert_eq!(twice_.index.nodes().len(), 2);
    assert_eq!(twice_.unpack(), twice);
}

#[test]
fn a_large_file_beside_its_own_halves_packs() {
    let whole = noise("halved", 96 * KIB);
    let files = Files::default().with("x", &whole).with("x.0", &whole[..48 * KIB]).with("x.1", &whole[48 * KIB..]);
    let release = files.pack(fine());
    assert_eq!(release.index.segments().len(), 1);
    assert_eq!(release.unpack(), files);
}

#[test]
fn small_single_chunk_files_need_no_chunk_list() {
    let files = Files::default().with("a", noise("a", 900)).with("b", noise("b", 900));
    assert_eq!(files.pack(fine()).index.segments()[0].chunks, None);
    let files = files.with("c", noise("c", 60 * KIB));
    assert!(files.pack(fine()).index.segments()[0].chunks.is_some());
}

#[test]
fn trees_that_cannot_exist_are_refused() {
    let cut = |bytes: &[u8]| {
        let mut cutter = FileCutter::new(fine());
        assert_eq!(cutter.update(bytes), []);
        cutter.finish().1
    };
    assert_eq!(Packer::new(fine()).finish().unwrap_err(), pack::PackError::Empty);
    let packed = |names: &[&str]| {
        let mut packer = Packer::new(fine());
        for name in names {
            packer.add(path(name), false, cut(name.as_bytes()))?;
        }
        packer.finish()
    };
    let order = |path_, before| pack::PackError::Order { path: path(path_), before: path(before) };
    assert_eq!(packed(&["b", "a"]).unwrap_err(), order("a", "b"));
    assert_eq!(packed(&["a", "a"]).unwrap_err(), order("a", "a"));
    assert_eq!(packed(&["a-b", "a/b"]).unwrap_err(), order("a/b", "a-b"));
    assert!(matches!(packed(&["d/A", "d/a"]), Err(pack::PackError::Directory { path, .. }) if path == "d"));
    assert!(matches!(packed(&["a", "a/b"]), Err(pack::PackError::Directory { path, .. }) if path.is_empty()));
    assert_eq!(packed(&["a"]).unwrap().index.files().len(), 1);
}
