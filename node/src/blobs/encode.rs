//! Blobs as they travel: the size, then verification tree and groups in the order of the tree.
//!
//! The library does the same from its store, one message between two tasks for every 16 KiB. For a blob that is held
//! completely its two files are enough: read, verified and encoded on one thread, in pieces that are worth sending.

use std::fs::{self, File};
use std::io::{self, Write};

use bao_tree::io::mixed::EncodedItem;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BaoTree, ChunkRanges};
use bytes::Bytes;
use iroh_blobs::store::IROH_BLOCK_SIZE;
use syncra_protocol::id::BlobId;
use tokio::sync::mpsc;

use super::error::ServeError;
use super::files::{self, Layout};
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
) -> io::Result<()> {
    let data = File::open(layout.data_file(id))?;
    let tree = BaoTree::new(size, IROH_BLOCK_SIZE);
    let outboard = match files::outboard_bytes(size) {
        0 => Vec::new(),
        _ => fs::read(layout.outboard_file(id))?,
    };
    let outboard = PreOrderOutboard { root: blake3::Hash::from_bytes(*id.as_bytes()), tree, data: outboard };
    let mut pieces = Pieces { buffer: Vec::with_capacity(BUFFER_BYTES), to };
    pieces.write_all(&size.to_le_bytes())?;
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

/// Collects what is written into pieces of [`BUFFER_BYTES`].
struct Pieces {
    buffer: Vec<u8>,
    to: mpsc::Sender<Bytes>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == BUFFER_BYTES {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER_BYTES));
        self.to.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
