//! Reading what is held, straight from the files: content was verified when it came in.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use iroh_blobs::api::blobs::BlobStatus;
use syncra_protocol::id::BlobId;
use syncra_protocol::limits;

use super::error::BlobError;
use super::files;
use super::open::blocking;
use super::{Blobs, hash};

impl Blobs {
    /// Whether the blob is held completely.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn has(&self, id: BlobId) -> Result<bool, BlobError> {
        Ok(self.size(id).await?.is_some())
    }

    /// Size of a blob that is held completely.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn size(&self, id: BlobId) -> Result<Option<u64>, BlobError> {
        Ok(match self.status(id).await? {
            BlobStatus::Complete { size } => Some(size),
            BlobStatus::Partial { .. } | BlobStatus::NotFound => None,
        })
    }

    /// The bytes of a blob of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::TooLarge`], [`BlobError::Damaged`] when the file is shorter than it was.
    pub async fn read(&self, id: BlobId, limit: u64) -> Result<Bytes, BlobError> {
        let bytes = self.size(id).await?.ok_or(BlobError::Missing(id))?;
        if bytes > limit {
            return Err(BlobError::TooLarge { id, bytes, limit });
        }
        self.read_file(id, 0, bytes).await
    }

    /// The bytes of a segment (or any blob no larger than one may be) in one piece.
    ///
    /// # Errors
    /// As [`Blobs::read`].
    pub async fn read_segment(&self, id: BlobId) -> Result<Bytes, BlobError> {
        self.read(id, limits::SEGMENT_BYTES as u64).await
    }

    /// The file of a complete blob, to be read or copied from by the kernel. Do not write to it.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`] when the file is not as long as it was, or the system's answer.
    pub async fn open_file(&self, id: BlobId) -> Result<File, BlobError> {
        let size = self.size(id).await?.ok_or(BlobError::Missing(id))?;
        let path = self.0.layout.data_file(id);
        let open = move || File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match blocking(open).await.map_err(BlobError::io("opening a blob"))? {
            (bytes, file) if bytes == size => Ok(file),
            _ => Err(BlobError::Damaged(id)),
        }
    }

    /// `len` bytes of a complete blob, from `offset` on.
    ///
    /// # Errors
    /// [`BlobError::Missing`], or [`BlobError::Range`] outside of the blob.
    pub async fn read_at(&self, id: BlobId, offset: u64, len: u64) -> Result<Bytes, BlobError> {
        let size = self.size(id).await?.ok_or(BlobError::Missing(id))?;
        let end = offset.saturating_add(len);
        if end > size {
            return Err(BlobError::Range { id, start: offset, end });
        }
        self.read_file(id, offset, len).await
    }

    /// Copies `len` bytes of a complete blob from `offset` on into `target`, at its position. The kernel copies where
    /// it can, so file systems that share blocks may share them.
    ///
    /// # Errors
    /// As [`Blobs::read_at`]; [`BlobError::StorageFull`] when `target`'s disk is full.
    pub async fn copy_to(&self, id: BlobId, offset: u64, len: u64, target: File) -> Result<File, BlobError> {
        let size = self.size(id).await?.ok_or(BlobError::Missing(id))?;
        let end = offset.saturating_add(len);
        if end > size {
            return Err(BlobError::Range { id, start: offset, end });
        }
        if len == 0 {
            return Ok(target);
        }
        let path = self.0.layout.data_file(id);
        let copy = move || -> io::Result<(u64, File)> {
            let mut target = target;
            let mut source = File::open(path)?;
            source.seek(SeekFrom::Start(offset))?;
            Ok((io::copy(&mut source.take(len), &mut target)?, target))
        };
        match blocking(copy).await.map_err(BlobError::io("copying a blob"))? {
            (copied, target) if copied == len => Ok(target),
            _ => Err(BlobError::Damaged(id)),
        }
    }

    /// Hashes a complete blob's file again.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when the bytes are not the id's: [`Blobs::discard`] it and fetch it again.
    pub async fn verify(&self, id: BlobId) -> Result<(), BlobError> {
        let size = self.size(id).await?.ok_or(BlobError::Missing(id))?;
        if size == 0 {
            return Ok(());
        }
        let path = self.0.layout.data_file(id);
        match blocking(move || files::hash_file(&path)).await {
            Ok(found) if found == id => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BlobError::io("verifying a blob")(error)),
            _ => Err(BlobError::Damaged(id)),
        }
    }

    /// Forgets blobs whose bytes turned out to be damaged, so that they can be fetched again.
    ///
    /// # Errors
    /// [`BlobError::Stopped`].
    pub async fn discard(&self, damaged: &[BlobId]) -> Result<(), BlobError> {
        let _gate = self.0.gate.clone().write_owned().await;
        self.forget(damaged).await
    }

    pub(super) async fn status(&self, id: BlobId) -> Result<BlobStatus, BlobError> {
        self.0.store.blobs().status(hash(id)).await.map_err(|_| self.stopped("asking the blob database"))
    }

    /// Positioned read of a blob's data file; the caller knows that the range is held.
    pub(super) async fn read_file(&self, id: BlobId, offset: u64, len: u64) -> Result<Bytes, BlobError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let path = self.0.layout.data_file(id);
        let read = move || -> io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::with_capacity(usize::try_from(len).map_err(io::Error::other)?);
            file.take(len).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = blocking(read).await.map_err(BlobError::io("reading a blob"))?;
        if bytes.len() as u64 == len { Ok(bytes.into()) } else { Err(BlobError::Damaged(id)) }
    }
}
