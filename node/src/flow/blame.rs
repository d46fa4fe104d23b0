//! Who changed a file last, and each of its lines: along the chain of first parents.

use syncra_protocol::fold::{PackageState, Published};
use syncra_protocol::id::ReleaseId;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::content::PlacedFile;

use super::lines::{self, TEXT_BYTES};
use super::peek::{Described, Peek, PeekError};

/// Releases that are looked at: each may cost a question to peers. What is older counts as the oldest that was looked at.
pub const RELEASES: usize = 64;

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The release that changed it last.
    pub last: ReleaseId,
    /// For each line the release that it is from, and its text without its end; none if the file is no text or too large.
    pub lines: Option<Vec<(ReleaseId, String)>>,
    /// Releases that were looked at.
    pub n_releases: usize,
    /// Whether the chain ended, so that nothing older could be meant.
    pub is_complete: bool,
}

/// Why nobody is blamed.
#[derive(Debug, thiserror::Error)]
pub enum BlameError {
    /// The release has no such file.
    #[error("version {version} has no file `{path}`")]
    NoFile {
        /// The file.
        path: EntryPath,
        /// The version.
        version: String,
    },
    /// A release that cannot be looked at.
    #[error(transparent)]
    Peek(#[from] PeekError),
}

/// Follows a file of a release back. Under another path it is followed as long as its bytes are the same there.
///
/// # Errors
/// [`BlameError`].
pub async fn blame(
    peek: &Peek<'_>,
    state: &PackageState,
    (start, published): (ReleaseId, &Published),
    path: &EntryPath,
) -> Result<Blame, BlameError> {
    let mut now = Step { id: start, described: peek.describe(&published.release).await?, path: path.clone() };
    let Some(file) = now.file() else {
        return Err(BlameError::NoFile { path: path.clone(), version: published.release.version.to_string() });
    };
    let mut tracing = Lines::begin(peek, &now, file).await?;
    let (mut last, mut n_releases) = (None, 1);
    let is_complete = loop {
        let parent = now.described.release.parents.first().and_then(|id| Some((*id, state.releases.get(id)?)));
        let Some((id, parent)) = parent else { break true };
        if last.is_some() && tracing.is_done() {
            break true;
        }
        if n_releases == RELEASES {
            break false;
        }
        n_releases += 1;
        let described = peek.describe(&parent.release).await?;
        let Some(file) = now.file() else { break true };
        let Some(older) = came_from(&described, file) else {
            // The file began here.
            break true;
        };
        let (is_changed, older_path) = (older.entry.hash != file.entry.hash, older.entry.path.clone());
        if is_changed {
            last.get_or_insert(now.id);
            tracing.step(peek, now.id, &described, older).await?;
        }
        now = Step { id, described, path: older_path };
    };
    let oldest = now.id;
    let lines = tracing.finish(oldest);
    Ok(Blame { last: last.unwrap_or(oldest), lines, n_releases, is_complete })
}

/// A release of the chain, and what the file is called in it.
struct Step {
    id: ReleaseId,
    described: Described,
    path: EntryPath,
}

impl Step {
    fn file(&self) -> Option<&PlacedFile> {
        self.described.index.find(&self.path)
    }
}

/// The file in an older release: under the same path, else the first one with the same bytes.
fn came_from<'a>(older: &'a Described, file: &PlacedFile) -> Option<&'a PlacedFile> {
    older.index.find(&file.entry.path).or_else(|| {
        let is_same = |other: &&PlacedFile| file.entry.size > 0 && other.entry.hash == file.entry.hash;
        older.index.files().iter().find(is_same)
    })
}

/// The lines of a text on their way back.
struct Lines {
    /// The lines as they are now, and where each is from, once that is known.
    found: Option<Vec<(Option<ReleaseId>, String)>>,
    /// The text in the release that was looked at last.
    text: String,
    /// Of its lines, which line of now each still is.
    still: Vec<Option<usize>>,
}

impl Lines {
    async fn begin(peek: &Peek<'_>, now: &Step, file: &PlacedFile) -> Result<Self, PeekError> {
        let Some(text) = read(peek, &now.described, file).await? else {
            return Ok(Self { found: None, text: String::new(), still: Vec::new() });
        };
        let found: Vec<_> = imara_diff::sources::lines(&text)
            .map(|line| (None, line.strip_suffix('\n').unwrap_or(line).to_owned()))
            .collect();
        let still = (0..found.len()).map(Some).collect();
        Ok(Self { found: Some(found), text, still })
    }

    /// Whether nothing is left to be found out.
    fn is_done(&self) -> bool {
        self.still.iter().all(Option::is_none)
    }

    /// Goes back over the change that release `by` made to what `older` has. Lines that are not there came with it.
    async fn step(
        &mut self,
        peek: &Peek<'_>,
        by: ReleaseId,
        described: &Described,
        older: &PlacedFile,
    ) -> Result<(), PeekError> {
        let Some(found) = &mut self.found else { return Ok(()) };
        if self.still.iter().all(Option::is_none) {
            return Ok(());
        }
        // What was no text before came as a whole.
        let text = read(peek, described, older).await?.unwrap_or_default();
        let newer = std::mem::take(&mut self.text);
        let (input, diff) = lines::compare(&text, &newer);
        let mut still = vec![None; input.before.len()];
        let mut at = 0;
        for (place, line) in (0_u32..).zip(&self.still) {
            if diff.is_added(place) {
                if let Some(line) = line {
                    found[*line].0 = Some(by);
                }
                continue;
            }
            while diff.is_removed(at) {
                at += 1;
            }
            still[at as usize] = *line;
            at += 1;
        }
        drop(input);
        (self.text, self.still) = (text, still);
        Ok(())
    }

    /// What is left is as old as the oldest release that has the file, or that was looked at.
    fn finish(self, oldest: ReleaseId) -> Option<Vec<(ReleaseId, String)>> {
        Some(self.found?.into_iter().map(|(by, line)| (by.unwrap_or(oldest), line)).collect())
    }
}

/// The text of a file; none if it is none, or too large.
async fn read(peek: &Peek<'_>, of: &Described, file: &PlacedFile) -> Result<Option<String>, PeekError> {
    if file.entry.size > TEXT_BYTES {
        return Ok(None);
    }
    peek.bring(of, [file.entry.hash].into_iter()).await?;
    let bytes = peek.read(of, file).await?;
    Ok(lines::text(&bytes).filter(|text| lines::is_comparable(text)).map(str::to_owned))
}
