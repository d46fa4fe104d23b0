use std::process::Command;

use super::*;

const LABELS: Labels<'_> = Labels { base: "base", ours: "ours", theirs: "theirs" };

fn merged(base: &str, ours: &str, theirs: &str) -> (String, u32) {
    let Text { text, n_conflicts } = merge(base, ours, theirs, LABELS);
    (text, n_conflicts)
}

fn lines(words: &str) -> String {
    words.split_whitespace().map(|word| format!("{word}\n")).collect()
}

#[test]
fn what_one_side_changed_is_as_that_side_has_it() {
    let base = lines("a b c d e f");
    assert_eq!(merged(&base, &lines("A b c d e f"), &lines("a b c d e F g")), (lines("A b c d e F g"), 0));
    assert_eq!(merged(&base, &lines("a c d e f"), &base), (lines("a c d e f"), 0));
    assert_eq!(merged(&base, &base, &lines("a b c d e")), (lines("a b c d e"), 0));
    assert_eq!(merged(&base, &lines("x b"), &lines("x b")), (lines("x b"), 0));
    assert_eq!(merged("", &lines("a"), &lines("a")), (lines("a"), 0));
    // The same change by both, and one more by one of them.
    assert_eq!(merged(&base, &lines("a B c d e f"), &lines("a B c d e F")), (lines("a B c d e F"), 0));
}

#[test]
fn our_side_of_what_has_markers_is_what_we_had() {
    let (base, ours, theirs) = (lines("a b c d"), lines("a x c X"), lines("a y c Y"));
    let (text, n) = merged(&base, &ours, &theirs);
    assert_eq!((n, our_side(&text)), (2, ours));
    assert_eq!(our_side(&base), base);
    assert_eq!(our_side("=======x\n"), "=======x\n");
}

#[test]
fn what_both_changed_stands_between_markers() {
    let (text, n) = merged(&lines("a b c"), &lines("a x c"), &lines("a y c"));
    assert_eq!((n, text.as_str()), (1, "a\n<<<<<<< ours\nx\n||||||| base\nb\n=======\ny\n>>>>>>> theirs\nc\n"));
    let (text, n) = merged("", "x", "y");
    assert_eq!((n, text.as_str()), (1, "<<<<<<< ours\nx\n||||||| base\n=======\ny\n>>>>>>> theirs\n"));
    // Changes that touch are one.
    let (text, n) = merged(&lines("a b"), &lines("A b"), &lines("a B"));
    assert_eq!((n, text.as_str()), (1, "<<<<<<< ours\nA\nb\n||||||| base\na\nb\n=======\na\nB\n>>>>>>> theirs\n"));
    let (text, n) = merged("a\r\n", "x\r\n", "y\r\n");
    assert!(n == 1 && text.lines().count() == 7 && text.matches("\r\n").count() == 7, "{text:?}");
    assert!(has_markers(&text) && !has_markers("<<<<<<<\n=======\n") && !has_markers("a <<<<<<< b\n"));
}

/// Numbers that are the same in every run.
fn random(seed: &mut u64, n: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % n
}

fn side(seed: &mut u64, base: &[String]) -> Vec<String> {
    let mut side = base.to_vec();
    for _ in 0..random(seed, 4) {
        let at = random(seed, side.len() as u64 + 1) as usize;
        match random(seed, 3) {
            0 if at < side.len() => drop(side.remove(at)),
            1 if at < side.len() => side[at] = format!("{}\n", random(seed, 9)),
            _ => side.insert(at, format!("{}\n", random(seed, 9))),
        }
    }
    if random(seed, 5) == 0
        && let Some(last) = side.last_mut()
    {
        *last = last.trim_end().to_owned();
    }
    side
}

#[test]
fn random_texts_merge_without_losing_a_change() {
    let mut seed = 0x1234_5678_9abc_def1;
    for _ in 0..20_000 {
        let base: Vec<String> = (0..random(&mut seed, 12)).map(|_| format!("{}\n", random(&mut seed, 6))).collect();
        let (ours, theirs) = (side(&mut seed, &base).concat(), side(&mut seed, &base).concat());
        let base = base.concat();
        let told = || format!("{base:?} {ours:?} {theirs:?}");
        assert_eq!(merged(&base, &ours, &base), (ours.clone(), 0), "{}", told());
        assert_eq!(merged(&base, &base, &theirs), (theirs.clone(), 0), "{}", told());
        assert_eq!(merged(&base, &ours, &ours), (ours.clone(), 0), "{}", told());
        let (text, n) = merged(&base, &ours, &theirs);
        assert_eq!(n, merged(&base, &theirs, &ours).1, "{}", told());
        assert_eq!(n > 0, has_markers(&text), "{}", told());
        // Whatever a side added is there, between markers or not.
        let count = |text: &str, line: &str| text.lines().filter(|found| *found == line).count();
        for side in [&ours, &theirs] {
            for line in side.lines() {
                let n_added = count(side, line).saturating_sub(count(&base, line));
                assert!(count(&text, line) >= n_added, "{line} is lost: {} {text:?}", told());
            }
        }
    }
}

/// `git merge-file --diff3` is another implementation of the same rules. Where both find the same lines changed, they agree to
/// the byte; they may find other lines changed where lines repeat, so lines here do not.
#[test]
fn git_merges_the_same_texts_to_the_same_bytes() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("SKIPPED: git is not there");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0x0bad_cafe_dead_beef;
    for round in 0..60 {
        let mut fresh = 100;
        let base: Vec<String> = (0..20).map(|n| format!("{n}\n")).collect();
        let mut side = |seed: &mut u64| {
            let mut side = base.clone();
            for _ in 0..=random(seed, 3) {
                let at = random(seed, side.len() as u64) as usize;
                fresh += 1;
                match random(seed, 3) {
                    0 => drop(side.remove(at)),
                    1 => side[at] = format!("{fresh}\n"),
                    _ => side.insert(at, format!("{fresh}\n")),
                }
            }
            side.concat()
        };
        let (ours, theirs) = (side(&mut seed), side(&mut seed));
        let base = base.concat();
        for (name, text) in [("base", &base), ("ours", &ours), ("theirs", &theirs)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let args =
            ["merge-file", "-p", "--diff3", "-L", "ours", "-L", "base", "-L", "theirs", "ours", "base", "theirs"];
        let git = Command::new("git").args(args).current_dir(dir.path()).output().unwrap();
        let (text, n) = merged(&base, &ours, &theirs);
        let git_n = git.status.code().unwrap();
        assert_eq!((text, n), (String::from_utf8(git.stdout).unwrap(), git_n as u32), "{round}: {ours:?} {theirs:?}");
    }
}

/// What a stranger publishes must not keep a core busy: three texts with nothing in common, as long as any may be.
#[test]
fn hostile_texts_are_merged_in_bounded_work() {
    let text = |letter: char| -> String { (0..1 << 16).map(|n| format!("{letter}{n}\n")).collect() };
    let (text, n) = merged(&text('a'), &text('b'), &text('c'));
    assert!(n == 1 && text.len() > 3 * 65_536);
}
