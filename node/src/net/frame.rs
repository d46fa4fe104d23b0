//! Frames on `/syncra/log/1` and `/syncra/have/1`: length as 32-bit little-endian, then canonical bytes of one message.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde::Serialize;
use syncra_protocol::codec;
use syncra_protocol::limits::FRAME_BYTES;
use syncra_protocol::message::MessageError;
use tokio::time::timeout;

use super::streams::{Stream, StreamError};

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame has more bytes than [`FRAME_BYTES`].
    #[error("a frame of {bytes} bytes, at most {FRAME_BYTES} are allowed")]
    TooLong {
        /// Bytes announced by the peer, or to be sent.
        bytes: usize,
    },
    /// The bytes are no message of the expected kind.
    #[error("a frame that is no message")]
    Message(#[from] MessageError),
    /// Nothing complete within the time.
    #[error("no frame in time")]
    Timeout,
    /// The peer has no place for the stream.
    #[error("the peer refused the stream")]
    Refused(#[from] StreamError),
    /// The stream ended inside a frame, or broke.
    #[error("the stream broke")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match Stream::refusal(&error) {
            Some(refusal) => Self::Refused(refusal),
            None => Self::Io(error),
        }
    }
}

/// Reads one message through its door, `decode`; `None` when the peer ended the stream before a frame began.
///
/// Memory grows with what has arrived, not with what was announced.
///
/// # Errors
/// [`FrameError`]; after any of them the stream is of no more use.
pub async fn read_frame<T>(
    stream: &mut (impl AsyncRead + Unpin),
    within: Duration,
    decode: impl FnOnce(&[u8]) -> Result<T, MessageError>,
) -> Result<Option<T>, FrameError> {
    let read = async {
        match first_bytes(stream).await? {
            Some(begun) => Ok(Some(rest_of(stream, begun).await?)),
            None => Ok::<_, FrameError>(None),
        }
    };
    let bytes = timeout(within, read).await.map_err(|_| FrameError::Timeout)??;
    Ok(bytes.map(|bytes| decode(&bytes)).transpose()?)
}

/// The same for a frame that may come at any time within `silence`: once it has begun, it has to be there `within`.
///
/// # Errors
/// [`FrameError`]; after any of them the stream is of no more use.
pub async fn read_frame_some_day<T>(
    stream: &mut (impl AsyncRead + Unpin),
    silence: Duration,
    within: Duration,
    decode: impl FnOnce(&[u8]) -> Result<T, MessageError>,
) -> Result<Option<T>, FrameError> {
    let begun = timeout(silence, first_bytes(stream)).await.map_err(|_| FrameError::Timeout)??;
    let Some(begun) = begun else { return Ok(None) };
    let bytes = timeout(within, rest_of(stream, begun)).await.map_err(|_| FrameError::Timeout)??;
    Ok(Some(decode(&bytes)?))
}

/// Writes one message and flushes it.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is sent; [`FrameError::Timeout`] when the peer does not take it.
pub async fn write_frame<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
    within: Duration,
) -> Result<(), FrameError> {
    let body = codec::encode(message);
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES);
    let Some(length) = length else { return Err(FrameError::TooLong { bytes: body.len() }) };
    let write = async {
        stream.write_all(&length.to_le_bytes()).await?;
        stream.write_all(&body).await?;
        stream.flush().await
    };
    timeout(within, write).await.map_err(|_| FrameError::Timeout)?.map_err(FrameError::from)
}

/// Bytes reserved at once while a frame comes in.
const STEP_BYTES: usize = 64 << 10;

/// The length of a frame as far as it has come, and how far that is.
type Begun = ([u8; 4], usize);

/// Waits until a frame begins; none when the stream ends before.
async fn first_bytes(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Begun>, FrameError> {
    let mut length = [0; 4];
    let n = stream.read(&mut length).await?;
    Ok((n > 0).then_some((length, n)))
}

async fn rest_of(stream: &mut (impl AsyncRead + Unpin), (mut length, n): Begun) -> Result<Vec<u8>, FrameError> {
    stream.read_exact(&mut length[n..]).await?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > FRAME_BYTES {
        return Err(FrameError::TooLong { bytes });
    }
    let mut body = Vec::new();
    while body.len() < bytes {
        let start = body.len();
        body.resize(bytes.min(start + STEP_BYTES), 0);
        stream.read_exact(&mut body[start..]).await?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    fn plain<T: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
        Ok(codec::decode(bytes, FRAME_BYTES)?)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_message_comes_back_and_the_end_is_no_error() {
        let mut wire = Cursor::new(Vec::new());
        write_frame(&mut wire, &("hello".to_owned(), 7_u32), SOON).await.expect("written");
        write_frame(&mut wire, &vec![9_u8; 200_000], SOON).await.expect("written");
        wire.set_position(0);
        let first: Option<(String, u32)> = read_frame(&mut wire, SOON, plain).await.expect("read");
        assert_eq!(first, Some(("hello".to_owned(), 7)));
        let second: Option<Vec<u8>> = read_frame(&mut wire, SOON, plain).await.expect("read");
        assert_eq!(second, Some(vec![9; 200_000]));
        assert!(read_frame::<u8>(&mut wire, SOON, plain).await.expect("end").is_none());
    }

    #[tokio::test]
    async fn too_long_too_short_and_malformed_frames_are_refused() {
        let too_long = (FRAME_BYTES as u32 + 1).to_le_bytes();
        let error = read_frame::<u8>(&mut Cursor::new(too_long), SOON, plain).await.expect_err("too long");
        assert!(matches!(error, FrameError::TooLong { bytes } if bytes == FRAME_BYTES + 1), "{error:?}");
        for cut in [&[9, 0][..], &[9, 0, 0, 0, 1]] {
            let error = read_frame::<u8>(&mut Cursor::new(cut.to_vec()), SOON, plain).await.expect_err("cut off");
            assert!(matches!(error, FrameError::Io(_)), "{error:?}");
        }
        let error =
            read_frame::<u8>(&mut Cursor::new([2, 0, 0, 0, 1, 1]), SOON, plain).await.expect_err("trailing byte");
        assert!(
            matches!(error, FrameError::Message(MessageError::Bytes(codec::CodecError::NotCanonical))),
            "{error:?}"
        );
        let mut sink = Cursor::new(Vec::new());
        let error = write_frame(&mut sink, &vec![0_u8; FRAME_BYTES], SOON).await.expect_err("too long");
        assert!(matches!(error, FrameError::TooLong { .. }) && sink.get_ref().is_empty(), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_costs_only_the_time_allowed() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let mut ours = tokio_util::compat::TokioAsyncReadCompatExt::compat(&mut ours);
        let error = read_frame::<u8>(&mut ours, SOON, plain).await.expect_err("silence");
        assert!(matches!(error, FrameError::Timeout), "{error:?}");
        drop(theirs);
    }

    /// Each byte comes in time, and the frame never.
    #[tokio::test(start_paused = true)]
    async fn a_frame_that_trickles_in_costs_only_the_time_allowed() {
        for (silence, expected) in [(None, SOON), (Some(SOON * 100), SOON * 11)] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut ours = tokio_util::compat::TokioAsyncReadCompatExt::compat(ours);
            let began = tokio::time::Instant::now();
            let dripping = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt as _;
                let mut ticks = tokio::time::interval(SOON / 10);
                for _ in 0..silence.map_or(0, |_| 100) {
                    ticks.tick().await;
                }
                for byte in [200, 0, 0, 0].into_iter().chain([0; 200]) {
                    ticks.tick().await;
                    if theirs.write_all(&[byte]).await.is_err() {
                        return true;
                    }
                }
                false
            });
            let read = match silence {
                None => read_frame::<Vec<u8>>(&mut ours, SOON, plain).await,
                Some(silence) => read_frame_some_day(&mut ours, silence, SOON, plain).await,
            };
            let error = read.expect_err("too slow");
            assert!(matches!(error, FrameError::Timeout), "{error:?}");
            assert_eq!(began.elapsed(), expected);
            drop(ours);
            assert!(dripping.await.expect("no panic"), "nobody listens any more");
        }
    }
}
