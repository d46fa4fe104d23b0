//! Tiles, beside those of an implementation of others.

use std::collections::BTreeMap;

use super::*;
use tiles::{Row, TILE_WIDTH, Tile, TilePathError, bundle};
use tlog_tiles::tlog;

/// The path as that implementation writes it: with the height of tiles, and `data` for entries.
fn their_path(tile: Tile) -> String {
    tile.to_string().replacen("tile/", "tile/8/", 1).replace("/entries/", "/data/")
}

/// A directory of our tiles, as a foreign reader sees it.
struct Shelf(BTreeMap<String, Vec<u8>>);

impl tlog_tiles::TileReader for Shelf {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        tiles.iter().map(|tile| self.0.get(&tile.path()).cloned().ok_or(tlog::Error::InvalidTile)).collect()
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Every tile is byte for byte the one that they make from the same entries, and their reader finds its way in them.
#[test]
fn foreign_tiles_are_the_same() {
    let (store, log) = (foreign::store(66_100), log(1, 66_100, u64::MAX));
    for size in [1, 2, 255, 256, 257, 511, 600, 65_535, 65_536, 65_537, 65_792, 66_100] {
        let hashes = Tile::all(size).filter(|tile| tile.row() != Row::Entries);
        let ours = hashes.map(|tile| (their_path(tile), log.tile(tile).expect("held"))).collect();
        let theirs = tlog_tiles::Tile::new_tiles(8, 0, size).into_iter();
        let theirs = theirs.map(|tile| (tile.path(), tile.read_data(&store).expect("in their store"))).collect();
        assert!(ours == theirs, "size {size}");

        let (shelf, root) = (Shelf(ours), tlog::Hash(*log.root_at(size).expect("held").as_bytes()));
        let reader = tlog_tiles::TileHashReader::new(size, root, &shelf);
        assert_eq!(tlog::tree_hash(size, &reader).expect("verified"), root);
        let leaf = log.leaf(size / 2).expect("held");
        let proof = tlog::prove_record(size, size / 2, &reader).expect("inside");
        tlog::check_record(&proof, size, root, size / 2, tlog::Hash(*leaf.as_bytes())).expect("proven");
    }
}

#[test]
fn entries_stand_in_bundles_behind_their_lengths() {
    let of = |size| {
        let bundles = Tile::all(size).filter_map(move |tile| Some((tile.to_string(), tile.entries(size)?)));
        bundles.collect::<Vec<_>>()
    };
    assert_eq!(of(0), []);
    assert_eq!(of(1), [("tile/entries/000.p/1".to_owned(), 0..1)]);
    assert_eq!(of(256), [("tile/entries/000".to_owned(), 0..256)]);
    assert_eq!(of(257), [("tile/entries/000".to_owned(), 0..256), ("tile/entries/001.p/1".to_owned(), 256..257)]);

    let entries = [vec![7; 0x0102], Vec::new(), vec![9; limits::ENTRY_BYTES]];
    let bytes = bundle(&entries);
    assert_eq!((&bytes[..2], &bytes[260..262], &bytes[262..264]), (&[1, 2][..], &[0, 0][..], &[0xff, 0xff][..]));
    assert_eq!(bytes.len(), 3 * 2 + 0x0102 + limits::ENTRY_BYTES);
    assert_eq!(Log::tile(&log(1, 9, u64::MAX), "tile/entries/000.p/9".parse().expect("a path")), None);
}

#[test]
fn what_a_log_does_not_hold_is_no_tile_of_it() {
    let log = log(1, 600, u64::MAX);
    let held = ["tile/0/000", "tile/0/002.p/88", "tile/0/000.p/1", "tile/1/000.p/2"];
    let not = [
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/0/003.p/1",
        "tile/1/000.p/3",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/0/x018/x446/x744/x073/x709/x551/615",
    ];
    let tile = |path: &str| log.tile(path.parse().expect(path));
    for path in held {
        let width: Tile = path.parse().expect("a path");
        assert_eq!(tile(path).map(|bytes| bytes.len() as u64), Some(32 * width.width()), "{path}");
    }
    for path in not {
        assert_eq!(tile(path), None, "{path}");
    }
    assert_eq!(tile("tile/0/001.p/9").expect("held")[..32], *log.leaf(TILE_WIDTH).expect("held").as_bytes());
    assert_eq!("tile/entries/002.p/89".parse::<Tile>().expect("a path").entries(600), None);
}

#[test]
fn paths_have_one_spelling() {
    for path in ["tile/0/000", "tile/63/x001/x234/067.p/255", "tile/entries/x999/999", "tile/entries/x001/000.p/1"] {
        let tile: Tile = path.parse().expect(path);
        assert_eq!(tile.to_string(), path);
        let theirs = tlog_tiles::Tile::from_path(&their_path(tile)).expect("theirs");
        assert_eq!((theirs.path(), u64::from(theirs.width())), (their_path(tile), tile.width()));
    }
    for wrong in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x001/x002",
        "tile/00/000",
        "tile/+0/000",
        "tile/64/000",
        "tile/256/000",
        "tile/data/000",
        "tile/0/000/",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/256",
        "tile/0/000.p/1/2",
        "tile/0/000.p/1.p/1",
        "/tile/0/000",
        "tile//000",
        "tile/0/../000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(wrong.parse::<Tile>(), Err(TilePathError), "{wrong:?}");
    }
}
