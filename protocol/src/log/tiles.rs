//! A log as files that foreign tools audit (C2SP tlog-tiles, <https://c2sp.org/tlog-tiles>), made from its entries.
//!
//! ```text
//! tile/<level>/<index>[.p/<width>]     hashes: 256 of them, or fewer at the right edge
//! tile/entries/<index>[.p/<width>]     the entries below a tile of level 0, each behind its length as u16, big-endian
//! ```
//!
//! Hash `i` of tile `n` at level `l` is the root over the leaves `(256·n + i)·256^l .. (256·n + i + 1)·256^l`. An index
//! is written in groups of three digits, all but the last behind an `x`: 1234067 is `x001/x234/067`.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use super::Log;
use crate::limits;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of a [`merkle::Tree`](super::merkle::Tree) that one level of tiles spans: 2^8 = [`TILE_WIDTH`].
const TILE_HEIGHT: u32 = TILE_WIDTH.trailing_zeros();
/// The highest level that C2SP writes; far more than any log here has.
const MAX_LEVEL: u8 = 63;
/// What all paths begin with.
const ROOT: &str = "tile/";
/// What stands for the level of entries.
const ENTRIES: &str = "entries";
/// Before the width of what is not full.
const PARTIAL: &str = ".p/";

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Hashes of one level.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// One tile, or one bundle of entries. Its text form is its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    row: Row,
    index: u64,
    width: u64,
}

/// A text is not the path of a tile, or not its only spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path of a tile")]
pub struct TilePathError;

impl Tile {
    /// All tiles and bundles of a log of `size` entries, level by level from the leaves up, each where it is widest.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..).map(Row::Hashes).take_while(move |row| row.count(size) > 0);
        levels.chain([Row::Entries]).flat_map(move |row| {
            let n_hashes = row.count(size);
            (0..n_hashes.div_ceil(TILE_WIDTH)).map(move |index| {
                let width = TILE_WIDTH.min(n_hashes - index * TILE_WIDTH);
                Self { row, index, width }
            })
        })
    }

    /// What it holds.
    #[must_use]
    pub const fn row(&self) -> Row {
        self.row
    }

    /// Of hashes or entries, how many: 1 to [`TILE_WIDTH`].
    #[must_use]
    pub const fn width(&self) -> u64 {
        self.width
    }

    /// Which of its row's hashes or entries; none beyond what numbers can tell.
    fn range(&self) -> Option<Range<u64>> {
        let start = self.index.checked_mul(TILE_WIDTH)?;
        Some(start..start.checked_add(self.width)?)
    }

    /// The entries of a bundle in a log of `size` entries; none of hashes, or if the log has fewer.
    #[must_use]
    pub fn entries(&self, size: u64) -> Option<Range<u64>> {
        self.range().filter(|range| self.row == Row::Entries && range.end <= size)
    }
}

impl Row {
    /// Hashes or entries of this row in a log of `size` entries.
    fn count(self, size: u64) -> u64 {
        match self {
            Self::Hashes(level) => size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0),
            Self::Entries => size,
        }
    }
}

impl Log {
    /// The bytes of a tile of hashes, at most 8 KiB; none of entries, which a log does not hold, or if the log is too short.
    #[must_use]
    pub fn tile(&self, tile: Tile) -> Option<Vec<u8>> {
        let (Row::Hashes(level), range) = (tile.row, tile.range()?) else { return None };
        if range.end > tile.row.count(self.size()) {
            return None;
        }
        let level = u32::from(level) * TILE_HEIGHT;
        Some(range.flat_map(|index| *self.tree.complete(level, index).as_bytes()).collect())
    }
}

/// Entries as they stand in a bundle.
///
/// # Panics
/// If an entry has more than [`limits::ENTRY_BYTES`], which no log has.
#[must_use]
pub fn bundle(entries: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries.iter().map(AsRef::as_ref) {
        let len = u16::try_from(entry.len()).expect("an entry is no longer than limits::ENTRY_BYTES");
        bytes.extend(len.to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

const _: () = assert!(limits::ENTRY_BYTES == u16::MAX as usize, "lengths in bundles have 16 bits");

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Row::Hashes(level) => write!(f, "{ROOT}{level}/")?,
            Row::Entries => write!(f, "{ROOT}{ENTRIES}/")?,
        }
        let n_groups = self.index.checked_ilog(1_000).unwrap_or(0);
        for group in (1..=n_groups).rev() {
            write!(f, "x{:03}/", self.index / 1_000_u64.pow(group) % 1_000)?;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.width < TILE_WIDTH { write!(f, "{PARTIAL}{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for Tile {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Self, TilePathError> {
        let (row, rest) = path.strip_prefix(ROOT).and_then(|rest| rest.split_once('/')).ok_or(TilePathError)?;
        let row = match row {
            ENTRIES => Row::Entries,
            level => Row::Hashes(level.parse().ok().filter(|level| *level <= MAX_LEVEL).ok_or(TilePathError)?),
        };
        let (index, width) = match rest.split_once(PARTIAL) {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width));
                (index, width.ok_or(TilePathError)?)
            }
        };
        let index = index.split('/').try_fold(0_u64, |index, group| {
            let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            index.checked_mul(1_000)?.checked_add(group)
        });
        let tile = Self { row, index: index.ok_or(TilePathError)?, width };
        // Leading zeros, signs, groups that are too long: whatever is spelt in another way than it is written.
        if tile.to_string() == path { Ok(tile) } else { Err(TilePathError) }
    }
}
