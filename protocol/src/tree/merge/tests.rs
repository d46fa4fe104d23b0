use super::*;
use crate::id::BlobId;

fn file(path: &str, bytes: &str) -> FileEntry {
    let (bytes, executable) = match bytes.strip_suffix('*') {
        Some(bytes) => (bytes, true),
        None => (bytes, false),
    };
    let path = EntryPath::parse(path).unwrap();
    FileEntry { path, executable, size: bytes.len() as u64, hash: BlobId::of(bytes.as_bytes()) }
}

/// `a=1 b=2*`: files with their bytes, `*` for mode 0755.
fn tree(text: &str) -> Vec<FileEntry> {
    text.split_whitespace().map(|word| word.split_once('=').unwrap()).map(|(path, bytes)| file(path, bytes)).collect()
}

/// What becomes of the files, a word each: `path:ours|theirs|both|gone|beside`, then `*`, `<from`, `!clash`, `+beside`.
fn said(base: &str, ours: &str, theirs: &str) -> String {
    let word = |outcome: Outcome| {
        let merged = match outcome.merged {
            Merged::Ours => "ours",
            Merged::Theirs => "theirs",
            Merged::Both => "both",
            Merged::Removed => "gone",
            Merged::Beside => "beside",
        };
        let mode = if outcome.executable { "*" } else { "" };
        let from = outcome.ours.filter(|ours| ours.path != outcome.path).map(|ours| format!("<{}", ours.path));
        let clash = outcome.clash.map(|clash| format!("!{clash:?}")).unwrap_or_default();
        let beside = outcome.beside.map(|beside| format!("+{beside}")).unwrap_or_default();
        format!("{}:{merged}{mode}{}{clash}{beside}", outcome.path, from.unwrap_or_default())
    };
    merge(&tree(base), &tree(ours), &tree(theirs)).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_one_side_changed_is_as_that_side_has_it() {
    assert_eq!(said("a=1 b=2 c=3", "a=1 b=2 c=3", "a=1 b=2 c=3"), "");
    assert_eq!(said("a=1 b=2 c=3", "a=x b=2 d=4", "a=1 b=y c=3 e=5"), "b:theirs e:theirs");
    assert_eq!(said("a=1", "a=1 n=1", "a=1 n=1"), "");
    assert_eq!(said("a=1 b=2", "a=1 b=2", "b=2"), "a:gone");
    assert_eq!(said("a=1", "", ""), "");
}

#[test]
fn modes_are_merged_apart_from_bytes() {
    assert_eq!(said("a=1", "a=2", "a=1*"), "a:ours*");
    assert_eq!(said("a=1*", "a=2*", "a=1"), "a:ours");
    assert_eq!(said("a=1", "a=1*", "a=3"), "a:theirs*");
    assert_eq!(said("", "a=1", "a=1*"), "a:ours*");
}

#[test]
fn what_both_changed_is_for_somebody_to_merge() {
    assert_eq!(said("a=1", "a=2", "a=3"), "a:both+a.theirs");
    assert_eq!(said("", "a=2 a.theirs=9", "a=3"), "a:both+a.theirs-2");
    assert_eq!(said("a=1", "", "a=3"), "a:beside!RemovedByUs+a.theirs");
    assert_eq!(said("a=1", "a=2", ""), "a:ours!RemovedByThem");
    assert_eq!(said("a=1", "", "a=1*"), "a:beside*!RemovedByUs+a.theirs");
}

#[test]
fn a_moved_file_keeps_what_the_other_side_did_to_it() {
    assert_eq!(said("a=1", "b=1", "a=2"), "b:theirs");
    assert_eq!(said("a=1", "a=2", "b=1"), "b:ours<a");
    assert_eq!(said("a=1", "b=1", "b=1"), "");
    assert_eq!(said("a=1", "a=1", "b=1*"), "b:ours*<a");
    assert_eq!(said("a=1", "b=1", "c=1"), "b:ours!MovedByBoth");
    // Where the place is taken, one file went and another came.
    assert_eq!(said("a=1", "a=2 b=9", "b=1"), "a:ours!RemovedByThem b:both+b.theirs");
    // Two that changed places are two that changed.
    assert_eq!(said("a=1 b=2", "a=2 b=1", "a=1 b=2 c=3"), "c:theirs");
}

#[test]
fn what_cannot_stand_beside_ours_is_set_beside() {
    assert_eq!(said("", "a=1", "a/b=2"), "a/b:beside!Place+a-b.theirs");
    assert_eq!(said("", "a/b=1", "a=2"), "a:beside!Place+a.theirs");
    assert_eq!(said("", "Readme=1", "README=2"), "README:beside!Place+README.theirs");
    assert_eq!(said("x=1", "x=1 Dir/f=2", "dir/f=1"), "x:ours!Place");
    // A file that makes room is no obstacle.
    assert_eq!(said("a=1", "a=1", "a/b=2"), "a:gone a/b:theirs");
    assert_eq!(said("readme=1", "readme=1", "README=1"), "README:ours<readme");
    let deep = format!("{}=", "x".repeat(250));
    assert_eq!(said("", &format!("{deep}1"), &format!("{deep}2")), format!("{}:both+file.theirs", "x".repeat(250)));
}

/// Whatever the trees are: nothing of ours is lost, nothing of theirs is ignored, and the outcome is a tree.
#[test]
fn random_trees_merge_into_trees_that_lose_nothing() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    let paths = ["a", "A", "a/b", "b", "b/c", "B/c", "c", "d.theirs", "d", "a.theirs"];
    for round in 0..5_000 {
        let mut side = |from: &[FileEntry]| {
            let mut set = PathSet::new();
            let mut files: Vec<FileEntry> = Vec::new();
            let candidates: Vec<FileEntry> = (0..6)
                .map(|_| match (from.len() as u64, random(3)) {
                    (n, 0 | 1) if n > 0 => from[random(n) as usize].clone(),
                    _ => file(paths[random(10) as usize], ["1", "2", "3*", "4"][random(4) as usize]),
                })
                .collect();
            for found in candidates {
                if set.insert(&found.path).is_ok() {
                    files.push(found);
                }
            }
            files
        };
        let base = side(&[]);
        let (ours, theirs) = (side(&base), side(&base));
        check(round, &base, &ours, &theirs);
    }
}

fn check(round: u64, base: &[FileEntry], ours: &[FileEntry], theirs: &[FileEntry]) {
    let outcomes = merge(base, ours, theirs);
    let told = || format!("round {round}\n{base:#?}\n{ours:#?}\n{theirs:#?}\n{outcomes:#?}");
    let gone = |path: &EntryPath| {
        outcomes.iter().any(|o| {
            let was = o.ours.as_ref().is_some_and(|ours| ours.path == *path);
            was && (o.merged == Merged::Removed || o.path != *path)
        })
    };
    let mut after: Vec<&EntryPath> = ours.iter().map(|file| &file.path).filter(|path| !gone(path)).collect();
    let stayed = after.clone();
    let new = |o: &&Outcome| !matches!(o.merged, Merged::Removed | Merged::Beside) && !stayed.contains(&&o.path);
    after.extend(outcomes.iter().filter(new).map(|o| &o.path));
    after.extend(outcomes.iter().filter_map(|o| o.beside.as_ref()));
    let mut set = PathSet::new();
    for path in after {
        assert!(set.insert(path).is_ok(), "{path} collides: {}", told());
    }
    for file in ours {
        let unchanged = base.iter().any(|base| (base.hash, base.executable) == (file.hash, file.executable));
        let kept = outcomes.iter().filter(|o| o.ours.as_ref() == Some(file)).all(|o| match o.merged {
            Merged::Ours | Merged::Both => true,
            // Only what we did not change gives way.
            Merged::Theirs => base.iter().any(|base| base.hash == file.hash),
            Merged::Removed => unchanged,
            Merged::Beside => false,
        });
        assert!(kept, "{} is lost: {}", file.path, told());
    }
    for file in theirs {
        let is_new = !base.iter().any(|base| base == file) && !ours.iter().any(|ours| ours == file);
        // Told, or ours has the same bytes, or only its place changed by both.
        let heard = outcomes.iter().any(|o| o.theirs.as_ref() == Some(file))
            || ours.iter().any(|ours| ours.hash == file.hash)
            || base.iter().any(|base| (base.hash, base.executable) == (file.hash, file.executable));
        assert!(!is_new || heard, "{} is not heard: {}", file.path, told());
    }
    let mirrored = merge(base, theirs, ours);
    let n_both = |outcomes: &[Outcome]| outcomes.iter().filter(|o| o.merged == Merged::Both).count();
    assert_eq!(n_both(&outcomes), n_both(&mirrored), "not symmetric: {}", told());
    assert_eq!(merge(base, ours, ours), [], "merging what is there changes nothing: {}", told());
}
