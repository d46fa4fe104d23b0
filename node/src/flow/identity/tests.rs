//! What is told of a recovery secret whose file is damaged, gone, or deleted by the user's word.

use std::fs;
use std::path::Path;

use super::*;
use crate::flow::fixture::open;

/// Every way in which one bit is wrong or the end is missing.
fn damages(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flips = (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    });
    flips.chain((0..bytes.len()).map(|len| bytes[..len].to_vec()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn no_damage_of_the_file_reads_as_saved_and_nothing_of_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let parts = open(dir.path()).await;
    let path = parts.layout().recovery_key();
    let secret = recovery_text(&parts, parts.identity()).unwrap().unwrap();
    let checked = fs::read(&path).unwrap();
    let unchecked = format!("syncra-recovery-1 {secret}\n").into_bytes();
    for whole in [checked, unchecked] {
        write(&path, &whole);
        assert_eq!(recovery(&parts).unwrap(), Recovery::Unsaved);
        let mut n_told = 0;
        for damaged in damages(&whole) {
            write(&path, &damaged);
            let told = String::from_utf8_lossy(&damaged).into_owned();
            match recovery(&parts) {
                // What is behind the secret is not part of it.
                Ok(Recovery::Unsaved) => {
                    assert_eq!(recovery_text(&parts, parts.identity()).unwrap().unwrap(), secret, "{told}");
                }
                Err(IdentityError::Recovery { path: named, .. }) => {
                    assert_eq!(named, path);
                    assert!(matches!(forget_recovery(&parts), Err(IdentityError::Recovery { .. })), "{told}");
                    n_told += 1;
                }
                other => panic!("{other:?} of {told}"),
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "left as it is");
        }
        assert!(n_told > 9 * whole.len() - 10, "{n_told}");
    }
    parts.close().await;
}

#[tokio::test]
async fn a_secret_that_is_gone_is_saved_only_by_the_users_word_for_this_very_key() {
    let dir = tempfile::tempdir().unwrap();
    let parts = open(dir.path()).await;
    let (path, mark) = (parts.layout().recovery_key(), parts.layout().recovery_saved());
    let file = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(recovery(&parts).unwrap(), Recovery::Missing);
    assert!(!forget_recovery(&parts).unwrap(), "it was gone");
    assert_eq!(recovery(&parts).unwrap(), Recovery::Saved);
    // Whatever is wrong with the mark, it says nothing then.
    let said = fs::read(&mark).unwrap();
    for damaged in damages(&said) {
        write(&mark, &damaged);
        assert_eq!(recovery(&parts).unwrap(), Recovery::Missing, "{}", String::from_utf8_lossy(&damaged));
    }
    write(&mark, &said);
    // Put back, or deleted only half, it is here.
    write(&path, &file);
    assert_eq!(recovery(&parts).unwrap(), Recovery::Unsaved);
    assert!(forget_recovery(&parts).unwrap());
    assert_eq!((recovery(&parts).unwrap(), path.exists()), (Recovery::Saved, false));
    parts.close().await;
}

#[test]
fn what_a_start_wrote_that_was_cut_off_is_used_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    durable::make_dir(&layout.identity()).unwrap();
    let first = recovery_key(&layout).unwrap().public();
    assert_eq!(recovery_key(&layout).unwrap().public(), first);
}
