//! What a reader makes of witnesses' words, and what a witness has on disk before it speaks.

use std::path::Path;

use syncra_protocol::fold::Standing;
use syncra_protocol::id::PackageId;

use super::*;
use crate::flow::Parts;
use crate::flow::fixture::{Draft, open, tell};
use crate::history::History;

const HOUR: u64 = 3_600;

fn stranger(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n; 32])
}

/// What the stranger says of a head.
fn said(n: u8, head: &Head, seconds: u64) -> Cosignature {
    let mut witness = Witness::new(stranger(n).public());
    witness.record(Statement::recall(head, Timestamp(seconds * 1_000))).unwrap();
    witness.cosignature(&stranger(n), head.origin()).unwrap()
}

fn now_seconds() -> u64 {
    clock::now().0 / 1_000
}

/// A reader with the strangers 1 to 5 on the list, and these settings more.
async fn reader(dir: &Path, settings: &str) -> Parts {
    let keys: Vec<String> =
        (1..=5).map(|n| format!("{:?}", WitnessKey::of(stranger(n).public()).to_string())).collect();
    open(dir).await.close().await;
    std::fs::write(dir.join("config.toml"), format!("witnesses = [{}]\n{settings}", keys.join(", "))).unwrap();
    open(dir).await
}

async fn hear(parts: &Parts, head: &Head, said: &[Cosignature]) {
    let _is_more = parts.witnesses.hear(&head.with_evidence(None, None, said)).await.unwrap();
}

fn history(parts: &Parts, package: PackageId) -> std::sync::Arc<History> {
    parts.histories.package(package).unwrap().unwrap()
}

/// The log of the package's first writer.
fn head_of(parts: &Parts, package: PackageId) -> Head {
    let history = history(parts, package);
    let is_of = |head: &&Head| head.origin().subject == syncra_protocol::origin::Subject::Package(package);
    history.evidence.heads().find(is_of).unwrap().clone()
}

#[tokio::test]
async fn only_listed_witnesses_count_and_liars_move_no_time_their_way() {
    let (dir, of_author) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let author = open(of_author.path()).await;
    let package = Draft::new("lamp", "1.0.0").publish(&author).await.package;
    let parts = reader(dir.path(), "").await;
    tell(&author, &parts, package).await;
    let head = head_of(&parts, package);
    let fresh = |parts: &Parts| parts.witnesses.freshness([&head]);
    assert_eq!(fresh(&parts), Freshness { by: 0, of: 5, needed: 3, at: None });

    // A crowd that nobody listed is no witness, and costs no more than its bound.
    let now = now_seconds();
    let crowd: Vec<Cosignature> = (50..90).map(|n| said(n, &head, now)).collect();
    for some in crowd.chunks(10) {
        hear(&parts, &head, some).await;
    }
    assert_eq!(fresh(&parts).by, 0);
    assert!(parts.witnesses.testimony(head.origin()).by.len() <= syncra_protocol::limits::OTHER_WITNESSES);
    assert_eq!(parts.histories.journal().truth().testimony(head.origin()), None, "strangers make nobody write");

    // Two liars say that it is new; the one honest witness that was heard has seen nothing for a month.
    let month_ago = now - 30 * 24 * HOUR;
    hear(&parts, &head, &[said(1, &head, now), said(2, &head, now)]).await;
    assert_eq!(fresh(&parts), Freshness { by: 2, of: 5, needed: 3, at: None }, "two of five are not enough");
    hear(&parts, &head, &[said(3, &head, month_ago)]).await;
    let stale = Freshness { by: 3, of: 5, needed: 3, at: Some(Timestamp(month_ago * 1_000)) };
    assert_eq!(fresh(&parts), stale);
    // From the future they say nothing at all.
    hear(&parts, &head, &[said(4, &head, now + 2 * HOUR)]).await;
    assert_eq!(fresh(&parts), stale);
    hear(&parts, &head, &[said(4, &head, now - 60)]).await;
    assert_eq!(fresh(&parts).at, Some(Timestamp((now - 60) * 1_000)));

    // What was heard is passed on, to those who list others too.
    let dressed = parts.witnesses.dress(&head);
    let passed_on = Cosignature::all_of(&dressed, &[], clock::now());
    assert!(passed_on.len() > 5 && passed_on[0].witness().key() == &stranger(1).public(), "{}", passed_on.len());

    // And what a list says survives a restart.
    parts.close().await;
    drop(parts);
    let parts = open(dir.path()).await;
    assert_eq!(fresh(&parts), Freshness { by: 4, at: Some(Timestamp((now - 60) * 1_000)), ..stale });
    parts.witnesses.list(Vec::new());
    assert_eq!(fresh(&parts), Freshness { by: 0, of: 0, needed: 1, at: None }, "without a list nothing is known");
    parts.close().await;
    author.close().await;
}

#[tokio::test]
async fn the_age_of_a_release_is_what_enough_witnesses_have_seen() {
    let (dir, of_author) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let author = open(of_author.path()).await;
    let package = Draft::new("lamp", "1.0.0").publish(&author).await.package;
    let parts = reader(dir.path(), "[policy]\nmin_witnesses = 2\nmin_witnessed_hours = 24\n").await;
    let first = head_of(&author, package);
    Draft::new("lamp", "1.1.0").publish(&author).await;
    tell(&author, &parts, package).await;
    let second = head_of(&parts, package);
    let release = |version: &str| {
        let history = history(&parts, package);
        let found = history.state.releases.values().find(|published| published.release.version.to_string() == version);
        let found = found.cloned().unwrap();
        assert_eq!(found.standing, Standing::Settled);
        found
    };
    let permit = |version: &str| parts.witnesses.permit(&release(version));
    assert_eq!(permit("1.0.0"), Err(Unwitnessed::TooFew { by: 0, of: 5, needed: 2 }));

    let now = now_seconds();
    // Who dates back counts for one: the second from the earliest decides.
    hear(&parts, &first, &[said(1, &first, now - 500 * HOUR), said(2, &first, now - 30 * HOUR)]).await;
    assert_eq!(permit("1.0.0"), Ok(()));
    assert_eq!(permit("1.1.0"), Err(Unwitnessed::TooFew { by: 0, of: 5, needed: 2 }));
    hear(&parts, &second, &[said(1, &second, now - 400 * HOUR), said(2, &second, now - 2 * HOUR)]).await;
    assert!(matches!(permit("1.1.0"), Err(Unwitnessed::TooYoung { hours: 24, .. })));
    // That they have seen more since makes the old one no younger.
    assert_eq!(permit("1.0.0"), Ok(()));
    hear(&parts, &second, &[said(3, &second, now - 25 * HOUR)]).await;
    assert_eq!(permit("1.1.0"), Ok(()));
    // The reader may ask for something else at any time.
    let config = Config::parse("witness = true\n[policy]\nmin_witnesses = 4\nmin_witnessed_hours = 24\n").unwrap();
    let listed = parts.witnesses.listed().iter().map(ToString::to_string).collect();
    let config = Config { witnesses: listed, ..config };
    let mut witnessing = parts.witnesses.witnessing();
    assert_eq!(parts.witnesses.take_over(&config), ["policy.min_witnesses", "witness"]);
    assert_eq!(parts.witnesses.take_over(&config), [""; 0]);
    assert!(parts.witnesses.is_witness() && witnessing.has_changed().unwrap() && *witnessing.borrow_and_update());
    assert_eq!(permit("1.0.0"), Err(Unwitnessed::TooFew { by: 3, of: 5, needed: 4 }));
    let before = Config { policy: Policy { min_witnesses: 2, min_witnessed_hours: 24 }, witness: false, ..config };
    assert_eq!(parts.witnesses.take_over(&before), ["policy.min_witnesses", "witness"]);
    assert_eq!(permit("1.0.0"), Ok(()));
    // The author's own node asks nobody.
    assert_eq!(author.witnesses.permit(&release("1.1.0")), Ok(()));
    parts.close().await;
    author.close().await;
}

#[tokio::test]
async fn a_witness_has_on_disk_what_it_says_and_says_it_again_after_a_restart() {
    let (dir, of_author) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let author = open(of_author.path()).await;
    let package = Draft::new("lamp", "1.0.0").publish(&author).await.package;
    open(dir.path()).await.close().await;
    std::fs::write(dir.path().join("config.toml"), "witness = true\n").unwrap();
    let parts = open(dir.path()).await;
    tell(&author, &parts, package).await;
    let (log, head) = parts.histories.log(head_of(&parts, package).origin()).unwrap().unwrap();
    let by = |parts: &Parts| Cosignature::all_of(&parts.witnesses.dress(&head), &[], clock::now());
    assert_eq!(by(&parts), []);
    let mut spoken = parts.witnesses.spoken();
    parts.witnesses.witness(&log, &head).await.unwrap();
    let once = by(&parts);
    assert_eq!(once[0].witness(), &parts.witnesses.key());
    assert_eq!(spoken.try_recv().unwrap(), head);
    {
        let truth = parts.histories.journal().truth();
        let stated = truth.stated().next().unwrap();
        assert_eq!((stated.size, stated.seconds), (head.size(), once[0].at().0 / 1_000));
    }
    // Asked again at once it says the same, and writes nothing.
    let n_records = parts.histories.journal().stats().records;
    parts.witnesses.witness(&log, &head).await.unwrap();
    assert_eq!((by(&parts), parts.histories.journal().stats().records), (once.clone(), n_records));
    assert!(spoken.try_recv().is_err(), "nothing new was said");
    // Nobody is a witness of their own.
    let own = Draft::new("door", "1.0.0").publish(&parts).await.package;
    let (own_log, own_head) = parts.histories.log(head_of(&parts, own).origin()).unwrap().unwrap();
    parts.witnesses.witness(&own_log, &own_head).await.unwrap();
    assert_eq!(parts.witnesses.dress(&own_head), own_head);

    parts.close().await;
    drop(parts);
    let parts = open(dir.path()).await;
    assert_eq!(by(&parts), once, "the same bytes after a restart");
    parts.close().await;
    author.close().await;
}
