use std::path::Path;

use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::Pick;
use syncra_protocol::name::RefName;

use super::super::pack::PackTreeError;
use super::*;
use crate::home::Home;

async fn open(home: &Path) -> Parts {
    Parts::open(Home::open(home).unwrap()).await.unwrap()
}

fn package(version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!("[package]\nname = \"lamp\"\nversion = \"{version}\"\nkind = \"script\"\n");
    std::fs::write(dir.path().join(MANIFEST_FILE), manifest).unwrap();
    std::fs::write(dir.path().join("lamp.syn"), "system turn() {}").unwrap();
    dir
}

fn request(dir: &Path) -> Request {
    Request::of(dir.to_owned())
}

async fn published(parts: &Parts, dir: &Path) -> Result<Published, PublishError> {
    let plan = plan(parts, request(dir)).await?;
    publish(parts, plan, &Progress::unwatched()).await
}

#[tokio::test]
async fn a_release_survives_a_restart_and_publishing_again_converges() {
    let home = tempfile::tempdir().unwrap();
    let dir = package("1.0.0");
    let parts = open(home.path()).await;
    let first = published(&parts, dir.path()).await.unwrap();
    assert!(!first.already && first.new_bytes > 0);
    parts.close().await;
    drop(parts);

    let parts = open(home.path()).await;
    let again = published(&parts, dir.path()).await.unwrap();
    assert!(again.already);
    assert_eq!((again.release_id, again.checkpoint), (first.release_id, first.checkpoint));
    std::fs::write(dir.path().join("lamp.syn"), "system turn() { faster }").unwrap();
    let taken = published(&parts, dir.path()).await;
    assert!(matches!(taken, Err(PublishError::VersionTaken { release, .. }) if release == first.release_id));

    let next = published(&parts, package("1.1.0").path()).await.unwrap();
    assert_eq!(next.package, first.package);
    assert_eq!(next.release.parents, [first.release_id]);
    let history = parts.histories.package(first.package).unwrap().unwrap();
    let stable = history.state.select(&Pick::Ref(RefClass::Channel, RefName::stable())).unwrap();
    assert_eq!(stable.release, next.release_id);
    parts.close().await;
}

#[tokio::test]
async fn a_plain_folder_gets_its_versions_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "1").unwrap();
    let parts = open(home.path()).await;
    let plain = async || {
        let request = Request {
            name: Some(PackageName::parse("plain").unwrap()),
            kind: Some(PackageKind::Asset),
            ..request(dir.path())
        };
        let plan = plan(&parts, request).await.unwrap();
        publish(&parts, plan, &Progress::unwatched()).await.unwrap()
    };
    assert_eq!(plain().await.release.version, Version::new(1, 0, 0));
    assert!(plain().await.already);
    std::fs::write(dir.path().join("a"), "2").unwrap();
    assert_eq!(plain().await.release.version, Version::new(1, 0, 1));
    let nameless = plan(&parts, request(dir.path())).await;
    assert!(matches!(nameless, Err(PublishError::Plain { missing: "name", .. })));
    parts.close().await;
}

#[tokio::test]
async fn secrets_long_notes_and_other_kinds_are_refused_before_anything_is_signed() {
    let home = tempfile::tempdir().unwrap();
    let dir = package("1.0.0");
    let parts = open(home.path()).await;
    std::fs::write(dir.path().join("notes"), format!("-----BEGIN {} KEY-----", "PRIVATE")).unwrap();
    assert!(matches!(published(&parts, dir.path()).await, Err(PublishError::Pack(PackTreeError::Secret { .. }))));
    let allowed =
        Request { allow_secrets: vec!["notes".into()], note: Some("x".repeat(1 << 20)), ..request(dir.path()) };
    let allowed = plan(&parts, allowed).await.unwrap();
    let long = publish(&parts, allowed, &Progress::unwatched()).await;
    assert!(matches!(long, Err(PublishError::LongNote { .. })));
    assert_eq!(parts.histories.packages(), []);
    parts.close().await;
}

#[tokio::test]
async fn of_publishes_at_once_each_that_is_acknowledged_counts() {
    let home = tempfile::tempdir().unwrap();
    let parts = open(home.path()).await;
    let dirs: Vec<_> = (0..12).map(|_| package("1.0.0")).collect();
    for (i, dir) in dirs.iter().enumerate() {
        std::fs::write(dir.path().join("lamp.syn"), format!("system turn() {{ {i} }}")).unwrap();
    }
    let all = dirs.iter().map(|dir| async {
        let plan = plan(&parts, request(dir.path())).await.unwrap();
        assert!(plan.package.is_none(), "all are planned before any is published");
        plan
    });
    let plans = futures::future::join_all(all).await;
    let silent = Progress::unwatched();
    let all = plans.into_iter().map(|plan| publish(&parts, plan, &silent));
    let (done, refused): (Vec<_>, Vec<_>) = futures::future::join_all(all).await.into_iter().partition(Result::is_ok);
    let done = done.into_iter().next().unwrap().unwrap();
    for refused in refused {
        assert!(matches!(refused, Err(PublishError::VersionTaken { release, .. }) if release == done.release_id));
    }
    let names = own_names(&parts).unwrap();
    assert_eq!(names.into_values().collect::<Vec<_>>(), [done.package]);
    let state = &parts.histories.package(done.package).unwrap().unwrap().state;
    assert_eq!(state.releases.keys().collect::<Vec<_>>(), [&done.release_id]);
    parts.close().await;
}
