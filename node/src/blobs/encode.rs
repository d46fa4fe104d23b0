//! Blobs as they travel: the size, then verification tree and groups in the order of the tree.
//!
//! The library does the same from its store, one message between two tasks for every 16 KiB. For a blob that is held
//! completely its two files are enough: read, verified and encoded on one thread, in pieces that are worth sending.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bao_tree::io::mixed::EncodedItem;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BaoTree, ChunkRanges};
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use bytes::{Bytes, BytesMut};
use iroh_blobs::store::IROH_BLOCK_SIZE;
use syncra_protocol::id::BlobId;
use syncra_protocol::tree::outboard::HashPair;
use tokio::sync::mpsc;

use super::error::ServeError;
use super::files::{self, Layout};
use super::ranges::GROUP_BYTES;
use super::stream::BUFFER_BYTES;

/// Encodes `ranges` of a blob of `size` bytes that is held completely. Every group is verified before it is handed out.
/// Blocks, also on `to`.
///
/// # Errors
/// When files are missing or wrong, and [`io::ErrorKind::BrokenPipe`] when nobody takes the pieces.
pub(super) fn complete(
    layout: &Layout,
    id: BlobId,
    size: u64,
    ranges: &ChunkRanges,
    to: mpsc::Sender<Bytes>,
    used: &Used,
) -> io::Result<()> {
    let data = File::open(layout.data_file(id))?;
    let mut pieces = Pieces { buffer: BytesMut::new(), filled: 0, to, used };
    pieces.write_all(&size.to_le_bytes())?;
    let hashes = match files::outboard_bytes(size) {
        0 => Vec::new(),
        _ => fs::read(layout.outboard_file(id))?,
    };
    if ranges.is_all() {
        let mut whole = Whole { data, hashes: &hashes, offset: 0, pieces };
        whole.root(*id.as_bytes(), size)?;
        return whole.pieces.flush();
    }
    let tree = BaoTree::new(size, IROH_BLOCK_SIZE);
    let outboard = PreOrderOutboard { root: blake3::Hash::from_bytes(*id.as_bytes()), tree, data: hashes };
    encode_ranges_validated(data, outboard, ranges, &mut pieces)?;
    pieces.flush()
}

/// One item of the library's encoding as bytes; none at its end.
pub(super) fn item(item: EncodedItem) -> Result<Option<Bytes>, ServeError> {
    match item {
        EncodedItem::Size(size) => Ok(Some(Bytes::copy_from_slice(&size.to_le_bytes()))),
        EncodedItem::Parent(parent) => {
            let (left, right) = parent.pair;
            Ok(Some([*left.as_bytes(), *right.as_bytes()].concat().into()))
        }
        EncodedItem::Leaf(leaf) => Ok(Some(leaf.data)),
        EncodedItem::Done => Ok(None),
        EncodedItem::Error(error) => {
            tracing::debug!(%error, "answer ended early");
            Err(ServeError::Missing)
        }
    }
}

/// A blob that is wanted whole: its hashes and groups in the order in which they lie in the files, so each group is read to
/// where it is sent from.
struct Whole<'a> {
    data: File,
    /// Those that are still to be sent.
    hashes: &'a [u8],
    /// Where in the blob we are.
    offset: u64,
    pieces: Pieces<'a>,
}

impl Whole<'_> {
    fn root(&mut self, id: ChainingValue, size: u64) -> io::Result<()> {
        if size > GROUP_BYTES {
            let (left, right) = self.pair()?;
            let found = merge_subtrees_root(&left, &right, Mode::Hash);
            return self.children(id == *found.as_bytes(), (left, right), size);
        }
        let group = self.group(size)?;
        same(id == *blake3::hash(group).as_bytes())
    }

    /// What lies below one hash.
    fn subtree(&mut self, hash: ChainingValue, size: u64) -> io::Result<()> {
        if size > GROUP_BYTES {
            let (left, right) = self.pair()?;
            let found = merge_subtrees_non_root(&left, &right, Mode::Hash);
            return self.children(hash == found, (left, right), size);
        }
        let offset = self.offset;
        let group = self.group(size)?;
        same(hash == blake3::Hasher::new().set_input_offset(offset).update(group).finalize_non_root())
    }

    fn children(&mut self, proven: bool, (left, right): HashPair, size: u64) -> io::Result<()> {
        same(proven)?;
        self.pieces.write_all(&left)?;
        self.pieces.write_all(&right)?;
        let before = left_subtree_len(size);
        self.subtree(left, before)?;
        self.subtree(right, size - before)
    }

    fn pair(&mut self) -> io::Result<HashPair> {
        let mut next = || {
            let (hash, rest) = self.hashes.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.hashes = rest;
            Ok::<_, io::Error>(*hash)
        };
        Ok((next()?, next()?))
    }

    /// Reads the next group to the end of a piece.
    fn group(&mut self, size: u64) -> io::Result<&[u8]> {
        let group = self.pieces.room(usize::try_from(size).map_err(io::Error::other)?)?;
        self.data.read_exact(group)?;
        self.offset += size;
        Ok(group)
    }
}

/// Nothing that is wrong is handed out: the piece that holds it is not finished.
fn same(proven: bool) -> io::Result<()> {
    if proven { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "a blob is not what its name says")) }
}

/// Collects what is written into pieces of [`BUFFER_BYTES`] and a little more, which are sent without being copied.
struct Pieces<'a> {
    /// As long as a piece can be, once there is something in it.
    buffer: BytesMut,
    filled: usize,
    to: mpsc::Sender<Bytes>,
    used: &'a Used,
}

/// The largest piece: one that was not large enough, a group, and hashes above the next.
const PIECE_BYTES: usize = BUFFER_BYTES + GROUP_BYTES as usize + (4 << 10);

impl Pieces<'_> {
    /// The next `size` bytes of a piece, at most those of a group, to be filled by the caller.
    fn room(&mut self, size: usize) -> io::Result<&mut [u8]> {
        if self.filled >= BUFFER_BYTES {
            self.flush()?;
        }
        if self.buffer.is_empty() {
            self.buffer = self.used.buffer();
        }
        let from = self.filled;
        self.filled += size;
        self.buffer.get_mut(from..self.filled).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(PIECE_BYTES - BUFFER_BYTES);
        self.room(n)?.copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer).freeze().slice(..std::mem::take(&mut self.filled));
        self.to.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Buffers of pieces that were sent, to be filled again: safe code may read a file only into bytes that were written before, and
/// filling new ones with zeros took a third of the time of reading the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Used(Arc<Mutex<Vec<BytesMut>>>);

impl Used {
    /// Takes back a piece that was sent.
    pub(super) fn give_back(&self, piece: Bytes) {
        // Not those of the library, which come in other sizes.
        if let Ok(buffer) = piece.try_into_mut()
            && buffer.capacity() >= PIECE_BYTES
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }

    fn buffer(&self) -> BytesMut {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = used.unwrap_or_else(|| BytesMut::with_capacity(PIECE_BYTES));
        buffer.resize(PIECE_BYTES, 0);
        buffer
    }
}
