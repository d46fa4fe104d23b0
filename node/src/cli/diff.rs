//! `syncra diff`

use std::path::Path;

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use super::ui::{Line, Style};
use crate::api::verbs::diff::{Diff, DiffRequest, DiffResponse, FileChangeInfo, FileInfo};
use crate::problem::{Code, Problem};

/// Show what changed between two releases, or since the last one
///
/// Files by path, texts line by line, other files by size and hash; and before them what
/// changed in the manifest: what the package newly asks for, its dependencies, what it says
/// about itself. A file with the same bytes under another path is a rename.
///
/// With two arguments they are compared; the second may be a directory. With one that is a
/// release, it is compared with what it was made from; with a directory (or none: the one
/// you are in), that is compared with what it was checked out from, else with the newest
/// release of the package that its `syncra.toml` names. What a merge left between markers is
/// shown as it stands.
///
/// What is not here is fetched: what describes the releases, and of files that differ the
/// segments they lie in. `--name-only` needs no bytes of files. Texts of more than 1 MiB
/// or 65,536 lines are told by size and hash.
///
/// Examples:
///   syncra diff
///   syncra diff @alice/rocket@1.2.0
///   syncra diff @alice~k3v9x2m4q7ab/rocket@1.0.0 @alice~k3v9x2m4q7ab/rocket@1.2.0 --stat
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The older release; or the only thing to compare
    #[arg(value_name = "REF|DIR")]
    first: Option<String>,
    /// The newer release, or a directory
    #[arg(value_name = "REF|DIR")]
    second: Option<String>,
    /// Say of each file only how much changed
    #[arg(long, conflicts_with = "name_only")]
    stat: bool,
    /// Say only which files changed
    #[arg(long)]
    name_only: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let (stat, names_only) = (self.stat, self.name_only);
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let request = DiffRequest { names_only, offline, timeout_s, ..self.sides()? };
        let client = Client::open(context).await?;
        let found = client.call::<Diff>(context, request).await?;
        context.ui().lines("diff", &found, |found| match (names_only, stat) {
            (true, _) => found.files.iter().map(|file| Line::plain(&file.path)).collect(),
            (_, true) => stats(found),
            _ => whole(found),
        })
    }

    fn sides(self) -> Result<DiffRequest, Problem> {
        let newer = |text: String| match is_reference(&text) {
            true => Ok(DiffRequest { new: Some(text), ..DiffRequest::default() }),
            false => Ok(DiffRequest { dir: Some(context::absolute(Path::new(&text))?), ..DiffRequest::default() }),
        };
        match (self.first, self.second) {
            (None, _) => newer(".".to_owned()),
            (Some(only), None) => newer(only),
            (Some(old), Some(_)) if !is_reference(&old) => {
                let message = format!("`{old}` is no release, and only the newer side may be a directory");
                Err(Problem::new(Code::BadArgument, message))
            }
            (Some(old), Some(new)) => Ok(DiffRequest { old: Some(old), ..newer(new)? }),
        }
    }
}

/// No directory begins like a reference, unless it is written `./@…`.
fn is_reference(text: &str) -> bool {
    text.starts_with('@') || text.starts_with("syncra:")
}

fn stats(found: &DiffResponse) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut n_added, mut n_removed) = (0, 0);
    for file in &found.files {
        n_added += file.n_added.unwrap_or(0);
        n_removed += file.n_removed.unwrap_or(0);
        lines.push(Line::plain(&format!("{} | {}", named(file), amount(file))));
    }
    let files = text::count(found.files.len() as u64, "file");
    lines.push(Line::plain(&format!("{files}, +{n_added} -{n_removed} lines")));
    lines
}

/// How much of a file changed.
fn amount(file: &FileChangeInfo) -> String {
    let size = |file: &Option<FileInfo>| file.as_ref().map_or_else(|| "nothing".to_owned(), |f| text::bytes(f.size));
    match (file.n_added, file.n_removed) {
        (Some(added), Some(removed)) => format!("+{added} -{removed}"),
        _ if file.content == "same" => mode(file).unwrap_or_else(|| "the same bytes".to_owned()),
        _ => format!("{} → {}", size(&file.old), size(&file.new)),
    }
}

/// The path, with the one before if that was another.
fn named(file: &FileChangeInfo) -> String {
    match &file.old {
        Some(old) if old.path != file.path => format!("{} → {}", old.path, file.path),
        _ => file.path.clone(),
    }
}

fn mode(file: &FileChangeInfo) -> Option<String> {
    let (old, new) = (file.old.as_ref()?.executable, file.new.as_ref()?.executable);
    let word = |executable| if executable { "0755" } else { "0644" };
    (old != new).then(|| format!("mode {} → {}", word(old), word(new)))
}

fn whole(found: &DiffResponse) -> Vec<Line> {
    let mut lines = vec![Line::bold(&format!("{} → {}", found.old.as_deref().unwrap_or("nothing"), found.new))];
    manifest(found, &mut lines);
    for file in &found.files {
        one_file(file, &mut lines);
    }
    if lines.len() == 1 {
        lines.push(Line::plain("nothing changed"));
    }
    lines
}

fn manifest(found: &DiffResponse, lines: &mut Vec<Line>) {
    let mut changed = |what: &str, old: &Option<String>, new: &Option<String>| {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(Line::plain(&format!("{what}: {} → {}", value(old), value(new))));
    };
    for field in &found.metadata {
        changed(&field.key, &field.old, &field.new);
    }
    for needed in &found.dependencies {
        let name = format!("dependency {} (syncra:{})", needed.name, needed.package_id);
        changed(&name, &needed.old, &needed.new);
    }
    let asks = |word: &str, asked: &String| format!("{word}: {asked}");
    lines.extend(found.asks_more.iter().map(|asked| Line::of(Style::Warn, &asks("newly asks for", asked))));
    lines.extend(found.asks_less.iter().map(|asked| Line::plain(&asks("asks no longer for", asked))));
}

fn one_file(file: &FileChangeInfo, lines: &mut Vec<Line>) {
    lines.push(Line::bold(&format!("{} {}", file.change, named(file))));
    lines.extend(mode(file).map(|mode| Line::plain(&mode)));
    match file.content.as_str() {
        "same" => {}
        "text" => {
            let side = |side: &Option<FileInfo>, begin: char| match side {
                Some(file) => format!("{begin}/{}", file.path),
                None => "/dev/null".to_owned(),
            };
            lines.push(Line::bold(&format!("--- {}", side(&file.old, 'a'))));
            lines.push(Line::bold(&format!("+++ {}", side(&file.new, 'b'))));
            for hunk in &file.hunks {
                let at = |start: u32, n: u32| if n == 1 { start.to_string() } else { format!("{start},{n}") };
                let (old, new) = (at(hunk.old_start, hunk.old_lines), at(hunk.new_start, hunk.new_lines));
                lines.push(Line::of(Style::Place, &format!("@@ -{old} +{new} @@")));
                lines.extend(hunk.lines.iter().map(|line| Line::of(style(line), line)));
            }
        }
        word => {
            let word = if word == "too_large" { "large" } else { word };
            let side = |file: &FileInfo| format!("{} {}", text::bytes(file.size), file.hash);
            let sides = [&file.old, &file.new].map(|file| file.as_ref().map_or_else(|| "nothing".to_owned(), side));
            lines.push(Line::plain(&format!("{word}: {} → {}", sides[0], sides[1])));
        }
    }
}

fn style(line: &str) -> Style {
    match line.chars().next() {
        Some('+') => Style::Came,
        Some('-') => Style::Went,
        _ => Style::Plain,
    }
}
