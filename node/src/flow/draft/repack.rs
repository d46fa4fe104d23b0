//! Packing a directory again and again: only what changed is read.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use syncra_protocol::id::ContentRoot;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::{ContentIndex, CutFile, Pack, PackParams, Packer, Segment};
use tokio::sync::mpsc;

use crate::blobs::{Blobs, Import};
use crate::flow::pack::{self, PackTreeError};
use crate::flow::secrets::Finding;
use crate::flow::walk::{SourceFile, Stamp};

/// Files from this size on are remembered by the names of their segments; smaller ones are read again.
const REMEMBERED_BYTES: u64 = 16 << 10;
/// Files from this size on are cut as in a release.
const LARGE_BYTES: u64 = 1 << 20;
/// A file whose last change is younger than this when it is cut may change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);
/// Segments on their way to the store.
const IN_FLIGHT: usize = 4;

/// Files of a directory that need not be read again.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The content of which they are: while nothing keeps that, their segments may go.
    pub(super) content: Option<ContentRoot>,
    files: HashMap<EntryPath, (Stamp, CutFile)>,
}

/// A file that is not shown: it looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The file.
    pub path: EntryPath,
    /// What it looks like, and where.
    pub finding: Finding,
}

/// What was packed, what holds it, and what is left out.
pub(super) type Packed = (ContentIndex, Import, Vec<Withheld>);

/// Reads what changed, packs everything but what looks like a secret, and stores what is new.
pub(super) async fn repack(blobs: &Blobs, files: Vec<SourceFile>, cache: &mut Cache) -> Result<Packed, PackTreeError> {
    let import = blobs.import();
    let (segments, arriving) = mpsc::channel::<Segment>(IN_FLIGHT);
    let known = std::mem::take(&mut cache.files);
    let packing = tokio::task::spawn_blocking(move || pack_all(files, known, &segments));
    let store = async {
        let stored = stream::unfold(arriving, async |mut arriving| Some((arriving.recv().await?, arriving)));
        let all = stored.map(Ok::<_, PackTreeError>);
        all.try_for_each_concurrent(IN_FLIGHT, async |segment| pack::store(&import, segment).await).await
    };
    let (stored, packed) = futures::join!(store, packing);
    stored?;
    let (pack, known, withheld) = packed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    for (id, node) in pack.nodes {
        import.add_as(id, node.into()).await?;
    }
    import.add(pack.index.hash_seq().encode().into()).await?;
    // What was not read again is in the store because the draft before names it: now this one does.
    import.pins().add_all(pack.index.hash_seq().children().iter().copied()).await;
    cache.files = known;
    Ok((pack.index, import, withheld))
}

type Known = HashMap<EntryPath, (Stamp, CutFile)>;

fn pack_all(
    files: Vec<SourceFile>,
    mut known: Known,
    segments: &mpsc::Sender<Segment>,
) -> Result<(Pack, Known, Vec<Withheld>), PackTreeError> {
    let fine = PackParams::new(64 << 10, 4 << 10).expect("within the format");
    let mut packer = Packer::new(fine);
    let mut buffer = vec![0; pack::READ_BYTES];
    let (mut still, mut withheld) = (HashMap::new(), Vec::new());
    for file in files {
        let stamp = file.stamp();
        let cut = match known.remove(&file.path).filter(|(then, _)| *then == stamp) {
            Some((_, cut)) => cut,
            None => {
                let params = if file.size < LARGE_BYTES { fine } else { PackParams::default() };
                match pack::cut_one(&file, params, segments, &mut buffer) {
                    // Nothing of it was handed out: its beginning is looked at first.
                    Err(PackTreeError::Secret { finding, .. }) => {
                        withheld.push(Withheld { path: file.path, finding });
                        continue;
                    }
                    cut => cut?,
                }
            }
        };
        if file.size >= REMEMBERED_BYTES && stamp.is_older_than(SystemTime::now(), SETTLED) {
            still.insert(file.path.clone(), (stamp, cut.clone()));
        }
        for segment in packer.add(file.path, file.executable, cut)? {
            pack::hand_out(segments, vec![segment])?;
        }
    }
    let mut pack = packer.finish()?;
    pack::hand_out(segments, std::mem::take(&mut pack.segments))?;
    Ok((pack, still, withheld))
}
