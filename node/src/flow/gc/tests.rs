use std::collections::BTreeMap;

use syncra_protocol::entry::Release;
use syncra_protocol::id::PackageId;
use syncra_protocol::reference::Selector;

use super::*;
use crate::blobs::Pins;
use crate::flow::fixture::{Draft, hand_over, open, tell};
use crate::flow::install::{self, Request};
use crate::flow::publish::Published;
use crate::journal::Follow;

const DRY_RUN: Mode = Mode { dry_run: true, imported: false };

/// Numbers that a seed fixes (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

async fn collect(parts: &Parts) -> Result<Collected, GcError> {
    gc(parts, Mode::default(), &Progress::unwatched()).await
}

/// Two packages of which one needs the other, three versions each.
async fn author(parts: &Parts) -> Vec<Published> {
    let mut all = Vec::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let shared = vec![9_u8; 40_000];
        let math = Draft::new("math", version).files(&[("shared", &shared)]).publish(parts).await;
        let needs = [("math", math.package, "^1")];
        all.push(Draft::new("lamp", version).needs(&needs).files(&[("shared", &shared)]).publish(parts).await);
        all.push(math);
    }
    all
}

/// Everything that somebody needs is there.
async fn assert_whole(parts: &Parts, also: &[ContentRoot]) {
    let blobs = parts.blobs().await.unwrap();
    let mut roots: Vec<ContentRoot> = also.to_vec();
    roots.extend(parts.histories.journal().truth().own_roots().map(|(root, _)| *root));
    for generation in parts.installed.kept().unwrap().values() {
        for slot in generation.packages.values() {
            let main = std::fs::read_to_string(parts.installed.path_of(slot.release).join("main.syn")).unwrap();
            assert!(main.ends_with(&slot.version.to_string()));
            roots.push(slot.content_root);
        }
    }
    for root in roots {
        assert!(blobs.missing(root.into()).await.unwrap().is_nothing(), "{root} lost something");
    }
}

/// One step of a story: something that needs blobs, with a collection at the same time or not.
async fn step(dice: &mut Dice, from: &Parts, user: &Parts, releases: &[Published], kept: &mut Vec<ContentRoot>) {
    let with_gc = dice.below(2) == 0;
    let collection = async {
        if with_gc {
            collect(user).await.unwrap();
        }
    };
    let quiet = Progress::unwatched();
    let published = dice.pick(releases);
    match dice.below(8) {
        0..=2 => {
            let selector = Some(Selector::Version(published.release.version.clone()));
            let request = Request::Add { package: published.package, selector };
            let pins = user.blobs().await.unwrap().pins();
            let install = async {
                for release in releases {
                    hand_over(from, user, release, &pins).await;
                }
                // Conflicts with what is installed are part of the story.
                drop(install::run(user, &request, &quiet).await);
            };
            tokio::join!(install, collection);
        }
        3 => drop(tokio::join!(install::run(user, &Request::Update(None), &quiet), collection)),
        4 => {
            let remove = Request::Remove(published.package);
            drop(tokio::join!(install::run(user, &remove, &quiet), collection));
        }
        5 => drop(tokio::join!(install::run(user, &Request::Rollback, &quiet), collection)),
        6 => {
            let own = format!("own{}", dice.below(1 << 40));
            tokio::join!(Draft::new(&own, "1.0.0").publish(user), collection);
        }
        _ => {
            let newest = releases.iter().rev().find(|release| release.package == published.package).unwrap();
            let pins = user.blobs().await.unwrap().pins();
            tokio::join!(hand_over(from, user, newest, &pins), collection);
            user.histories.journal().append(Follow { package: newest.package, channel: None }).await.unwrap();
            kept.push(newest.release.content_root);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_at_the_same_time_nothing_needed_goes() {
    let dir = tempfile::tempdir().unwrap();
    let from = open(dir.path()).await;
    let releases = author(&from).await;
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let user = open(dir.path()).await;
        for release in &releases {
            tell(&from, &user, release.package).await;
        }
        let mut dice = Dice(seed);
        let mut kept = Vec::new();
        // A fetch that runs all the time: half of a release, held by its pins only.
        let running: Pins = user.blobs().await.unwrap().pins();
        hand_over(&from, &user, &releases[0], &running).await;
        for _ in 0..14 {
            step(&mut dice, &from, &user, &releases, &mut kept).await;
            let mut needed = kept.clone();
            needed.push(releases[0].release.content_root);
            assert_whole(&user, &needed).await;
        }
        drop(running);
        collect(&user).await.unwrap();
        assert_whole(&user, &kept).await;
        let again = gc(&user, DRY_RUN, &Progress::unwatched()).await.unwrap();
        assert_eq!(again, Collected::default(), "seed {seed}: something stayed that nothing needs");
        user.close().await;
    }
    from.close().await;
}

#[tokio::test]
async fn what_nothing_needs_goes_and_a_dry_run_only_tells() {
    let (dirs, quiet) = ((tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()), Progress::unwatched());
    let (from, user) = (open(dirs.0.path()).await, open(dirs.1.path()).await);
    let releases = author(&from).await;
    let pins = user.blobs().await.unwrap().pins();
    for release in &releases {
        tell(&from, &user, release.package).await;
        hand_over(&from, &user, release, &pins).await;
    }
    drop(pins);
    let math = releases[1].package;
    let add = |version: &str| Request::Add { package: math, selector: Some(Selector::parse(version).unwrap()) };
    for version in ["1.0.0", "1.1.0", "1.2.0"].iter().cycle().take(crate::installed::KEPT_GENERATIONS + 3) {
        install::run(&user, &add(version), &quiet).await.unwrap();
    }
    std::fs::create_dir_all(user.layout().installed_staging().join("dead")).unwrap();
    let told = gc(&user, DRY_RUN, &quiet).await.unwrap();
    assert_eq!(told.leftovers.generations, [1, 2, 3]);
    assert_eq!(told.leftovers.staging.len(), 1);
    assert!(told.blobs.blobs > 0, "nobody needs lamp");
    assert_eq!(gc(&user, DRY_RUN, &quiet).await.unwrap(), told, "a dry run changes nothing");
    assert_eq!(collect(&user).await.unwrap(), told);
    assert_eq!(gc(&user, DRY_RUN, &quiet).await.unwrap(), Collected::default());
    let manifests = releases.iter().map(|release| release.release.manifest);
    for manifest in manifests {
        assert!(user.blobs().await.unwrap().has(manifest).await.unwrap(), "manifests of known releases stay");
    }
    from.close().await;
    user.close().await;
}

#[tokio::test]
async fn what_was_imported_stays_until_it_is_let_go() {
    let (dirs, quiet) = ((tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()), Progress::unwatched());
    let (from, user) = (open(dirs.0.path()).await, open(dirs.1.path()).await);
    let lamp = Draft::new("lamp", "1.0.0").publish(&from).await;
    tell(&from, &user, lamp.package).await;
    let pins = user.blobs().await.unwrap().pins();
    hand_over(&from, &user, &lamp, &pins).await;
    let root = lamp.release.content_root;
    user.histories
        .journal()
        .append(ImportedRoot { content_root: root, package: lamp.package, kept: true })
        .await
        .unwrap();
    drop(pins);
    assert_eq!(collect(&user).await.unwrap(), Collected { n_imported: 1, ..Collected::default() });
    assert_whole(&user, &[root]).await;
    let mode = Mode { imported: true, ..DRY_RUN };
    let told = gc(&user, mode, &quiet).await.unwrap();
    assert!(told.blobs.blobs > 0);
    assert_eq!(gc(&user, DRY_RUN, &quiet).await.unwrap().n_imported, 1, "a dry run lets nothing go");
    assert_eq!(gc(&user, Mode { dry_run: false, ..mode }, &quiet).await.unwrap(), told);
    assert!(!user.blobs().await.unwrap().has(root.into()).await.unwrap());
    from.close().await;
    user.close().await;
}

#[tokio::test]
async fn nothing_goes_while_anything_is_unreadable() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, user) = (open(dirs.0.path()).await, open(dirs.1.path()).await);
    let lamp = Draft::new("lamp", "1.0.0").publish(&from).await;
    let pins = user.blobs().await.unwrap().pins();
    hand_over(&from, &user, &lamp, &pins).await;
    drop(pins);
    let held = async |root: ContentRoot| user.blobs().await.unwrap().missing(root.into()).await.unwrap().is_nothing();
    let switched = user.installed.turn().await.switch(BTreeMap::<PackageId, _>::new()).unwrap();
    let file = user.layout().generations().join(switched.generation.to_string());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("created_ms\": ", "created_ms\": 1")).unwrap();
    assert!(matches!(collect(&user).await, Err(GcError::Installed(_))));
    assert!(held(lamp.release.content_root).await);
    std::fs::write(&file, text).unwrap();

    let own = Draft::new("own", "1.0.0").publish(&user).await;
    user.blobs().await.unwrap().discard(&[own.release.content_root.into()]).await.unwrap();
    let refused = collect(&user).await;
    assert!(matches!(refused, Err(GcError::OwnContent { root, .. }) if root == own.release.content_root));
    assert!(held(lamp.release.content_root).await);
    from.close().await;
    user.close().await;
}

/// A stranger's release may say that any blob is its manifest. What it then takes away is what only it names.
#[tokio::test]
async fn a_redaction_takes_no_part_of_what_others_name() {
    use syncra_protocol::entry::{Body, Redact, RedactReason};
    let (at_home, of_thief) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (parts, thief) = (open(at_home.path()).await, open(of_thief.path()).await);
    let own = Draft::new("lamp", "1.0.0").files(&[("light", &[7; 90_000])]).publish(&parts).await;
    let children = parts.blobs().await.unwrap().children(own.release.content_root.into()).await.unwrap();

    let bait = Draft::new("bait", "1.0.0").publish(&thief).await;
    let history = thief.histories.package(bait.package).unwrap().unwrap();
    let release = history.state.releases[&bait.release_id].release.clone();
    for (child, version) in children.iter().zip(2..) {
        let version = syncra_protocol::version::Version::new(version, 0, 0);
        let release = Release { manifest: *child, version, parents: Vec::new(), ..release.clone() };
        super::super::roles::write(&thief, bait.package, Vec::new(), Body::Release(release)).await.unwrap();
    }
    let mut blobs = children.clone();
    blobs.sort_unstable();
    let redact = Redact { blobs, reason: RedactReason::Mistake };
    super::super::roles::write(&thief, bait.package, Vec::new(), Body::Redact(redact)).await.unwrap();
    tell(&thief, &parts, bait.package).await;
    assert_eq!(redact::refused(&parts.histories).len(), children.len(), "it is what the story is about");

    collect(&parts).await.unwrap();
    assert_whole(&parts, &[]).await;
    thief.close().await;
    parts.close().await;
}
