use super::*;
use crate::flow::fixture::{Draft, hand_over, open, tell};
use crate::flow::get;
use crate::flow::publish::Published;

/// A publisher, and somebody who installs.
struct Two {
    author: Parts,
    user: Parts,
    dirs: (tempfile::TempDir, tempfile::TempDir),
}

impl Two {
    async fn new() -> Self {
        let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { author: open(dirs.0.path()).await, user: open(dirs.1.path()).await, dirs }
    }

    /// Publishes and brings history and blobs to the user.
    async fn publish(&self, draft: Draft<'_>) -> Published {
        let published = draft.publish(&self.author).await;
        tell(&self.author, &self.user, published.package).await;
        let pins = self.user.blobs().await.unwrap().pins();
        hand_over(&self.author, &self.user, &published, &pins).await;
        published
    }

    async fn run(&self, request: Request) -> Result<Done, InstallError> {
        run(&self.user, &request, &Progress::unwatched()).await
    }

    async fn add(&self, package: PackageId, selector: Option<&str>) -> Result<Done, InstallError> {
        let selector = selector.map(|text| Selector::parse(text).unwrap());
        self.run(Request::Add { package, selector }).await
    }

    /// Name and version of everything installed, and that its files are there.
    fn installed(&self) -> Vec<String> {
        let mut all: Vec<String> = list(&self.user)
            .unwrap()
            .values()
            .map(|(slot, path)| {
                let text = std::fs::read_to_string(path.join("main.syn")).unwrap();
                assert!(text.ends_with(&slot.version.to_string()));
                text
            })
            .collect();
        all.sort();
        all
    }

    async fn close(self) -> (tempfile::TempDir, tempfile::TempDir) {
        self.author.close().await;
        self.user.close().await;
        self.dirs
    }
}

#[tokio::test]
async fn add_update_remove_and_roll_back() {
    let two = Two::new().await;
    let mut events = two.user.events.subscribe(None);
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    let done = two.add(lamp, None).await.unwrap();
    assert_eq!((done.generation, done.changes.len()), (1, 1));
    assert!(done.changes[0].reference().starts_with('@') && done.changes[0].reference().ends_with("/lamp"));
    let path = two.user.installed.path_of(done.changes[0].to.as_ref().unwrap().release);
    assert_eq!(std::fs::read_to_string(path.join("main.syn")).unwrap(), "lamp 1.0.0");
    let installed = events.poll().unwrap().event;
    assert!(
        matches!(installed, Event::Installed { package, path: ref told, .. } if package == lamp && *told == text_of(&path))
    );
    assert_eq!(events.poll().unwrap().event, Event::GenerationChanged { generation: 1 });

    let again = two.add(lamp, None).await.unwrap();
    assert_eq!((again.generation, again.changes.len()), (1, 0), "adding again changes nothing");
    two.publish(Draft::new("lamp", "1.1.0")).await;
    assert_eq!(two.installed(), ["lamp 1.0.0"], "knowing of a release installs nothing");
    assert_eq!(two.run(Request::Update(None)).await.unwrap().generation, 2);
    assert_eq!(two.installed(), ["lamp 1.1.0"]);
    assert_eq!(two.run(Request::Rollback).await.unwrap().generation, 1);
    assert_eq!(two.installed(), ["lamp 1.0.0"]);
    assert_eq!(two.run(Request::RollbackTo(2)).await.unwrap().changes.len(), 1);
    assert_eq!(two.run(Request::RollbackPackage(lamp)).await.unwrap().generation, 3);
    assert_eq!(two.installed(), ["lamp 1.0.0"]);
    assert_eq!(two.run(Request::Remove(lamp)).await.unwrap().generation, 4);
    assert_eq!(two.installed(), Vec::<String>::new());
    assert!(matches!(two.run(Request::Remove(lamp)).await, Err(InstallError::NotInstalled(_))));
    assert!(path.exists(), "directories go by gc only");
    let all = std::iter::from_fn(|| events.poll());
    assert!(all.map(|frame| frame.event).any(|event| event == Event::Removed { package: lamp }));
    two.close().await;
}

#[tokio::test]
async fn exact_versions_stay_and_requirements_move() {
    let two = Two::new().await;
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    two.publish(Draft::new("lamp", "1.5.0")).await;
    two.publish(Draft::new("lamp", "2.0.0")).await;
    two.add(lamp, Some("^1")).await.unwrap();
    assert_eq!(two.installed(), ["lamp 1.5.0"]);
    two.publish(Draft::new("lamp", "1.6.0")).await;
    two.run(Request::Update(Some(lamp))).await.unwrap();
    assert_eq!(two.installed(), ["lamp 1.6.0"]);
    two.add(lamp, Some("1.0.0")).await.unwrap();
    two.run(Request::Update(None)).await.unwrap();
    assert_eq!(two.installed(), ["lamp 1.0.0"]);
    assert!(matches!(two.add(lamp, Some("^3")).await, Err(InstallError::Select { .. })));
    two.close().await;
}

#[tokio::test]
async fn what_a_release_needs_comes_and_goes_with_it() {
    let two = Two::new().await;
    let math = two.publish(Draft::new("math", "1.0.0")).await.package;
    let needs = [("math", math, "^1")];
    let light = two.publish(Draft::new("light", "1.0.0").needs(&needs)).await.package;
    let needs = [("light", light, "^1"), ("math", math, "1.0")];
    let lamp = two.publish(Draft::new("lamp", "1.0.0").needs(&needs)).await.package;
    two.publish(Draft::new("math", "1.2.0")).await;
    let done = two.add(lamp, None).await.unwrap();
    let order: Vec<_> = done.changes.iter().map(|change| change.package).collect();
    assert_eq!(order, [math, light, lamp], "needed ones first");
    assert_eq!(two.installed(), ["lamp 1.0.0", "light 1.0.0", "math 1.2.0"]);
    let chains = why(&two.user, math).unwrap().chains;
    let names: Vec<_> = chains[0].iter().map(|slot| slot.reference.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["lamp", "math"], "the shortest chain");
    let refused = two.run(Request::Remove(math)).await;
    assert!(matches!(refused, Err(InstallError::StillNeeded { by, .. }) if by.len() == 2));

    two.publish(Draft::new("math", "2.0.0")).await;
    let clash = two.add(math, Some("^2")).await;
    assert!(matches!(clash, Err(InstallError::Conflict { wishes, .. }) if wishes.len() == 3));
    assert_eq!(two.installed().len(), 3);
    two.add(math, Some("1.0.0")).await.unwrap();
    assert_eq!(two.installed(), ["lamp 1.0.0", "light 1.0.0", "math 1.0.0"], "what was asked for and suits");
    two.run(Request::Remove(lamp)).await.unwrap();
    assert_eq!(two.installed(), ["math 1.0.0"], "light was there for lamp only");
    two.close().await;
}

#[tokio::test]
async fn what_is_not_held_is_refused_and_the_old_stays() {
    let two = Two::new().await;
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    two.add(lamp, None).await.unwrap();
    Draft::new("lamp", "1.1.0").publish(&two.author).await;
    tell(&two.author, &two.user, lamp).await;
    let refused = two.run(Request::Update(None)).await;
    assert!(matches!(refused, Err(InstallError::Content(ContentError::NotHeld { .. }))));
    assert_eq!(two.installed(), ["lamp 1.0.0"]);
    let unknown = two.add(PackageId::from_bytes([1; 32]), None).await;
    assert!(matches!(unknown, Err(InstallError::Content(ContentError::UnknownPackage(_)))));
    two.close().await;
}

#[tokio::test]
async fn bytes_that_rotted_on_disk_are_never_installed() {
    let two = Two::new().await;
    let bytes = vec![7_u8; 300_000];
    let files: [(&str, &[u8]); 1] = [("world.bin", &bytes)];
    let world = two.publish(Draft::new("world", "1.0.0").files(&files)).await;
    let release =
        crate::flow::release::content(two.user.blobs().await.unwrap(), world.release.content_root).await.unwrap();
    let segment = release.segments()[0].hash;
    let data = walk(&two.user.layout().blobs());
    let hash = blake3::Hash::from_bytes(*segment.as_bytes()).to_hex();
    let file = data.iter().find(|path| path.ends_with(format!("{hash}.data"))).unwrap();
    let mut rotten = std::fs::read(file).unwrap();
    rotten[1_000] ^= 4;
    std::fs::write(file, rotten).unwrap();
    let dir = two.dirs.1.path().with_extension("got");
    let wanted = get::Wanted::Release(Box::new(world.release.clone()));
    let got = get::get(&two.user, &wanted, (&dir, None), crate::sync::fetch::PATIENCE, &Progress::unwatched()).await;
    assert!(
        matches!(got, Err(get::GetError::Unpack(UnpackError::WrongFile { ref path })) if path.as_str() == "world.bin"),
        "{got:?}"
    );
    assert!(!dir.exists());
    let refused = two.add(world.package, None).await;
    assert!(matches!(refused, Err(InstallError::Content(ContentError::NotHeld { .. }))), "{refused:?}");
    assert!(two.installed().is_empty());
    // The damage was found and forgotten, so the same call works once the bytes are back.
    let pins = two.user.blobs().await.unwrap().pins();
    hand_over(&two.author, &two.user, &world, &pins).await;
    two.add(world.package, None).await.unwrap();
    assert_eq!(two.installed(), ["world 1.0.0"]);
    two.close().await;
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_switch_that_was_cut_off_is_finished_by_the_same_call() {
    let two = Two::new().await;
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    two.add(lamp, None).await.unwrap();
    let next = two.publish(Draft::new("lamp", "1.1.0")).await;
    // As after a kill between the two renames: unpacked and even a generation file, but the pointer is the old one.
    two.run(Request::Update(None)).await.unwrap();
    two.user.installed.turn().await.point_to(1).unwrap();
    std::fs::create_dir_all(two.user.layout().installed_staging().join("dead")).unwrap();
    let dirs = two.close().await;
    let user = open(dirs.1.path()).await;
    assert!(!user.layout().installed_staging().join("dead").exists());
    let before = user.installed.current().unwrap();
    assert!(before.packages.values().all(|slot| user.installed.has(slot.release) && slot.release != next.release_id));
    let done = run(&user, &Request::Update(None), &Progress::unwatched()).await.unwrap();
    assert_eq!((done.generation, done.changes.len()), (3, 1));
    assert!(user.installed.has(next.release_id));
    user.close().await;
}

#[tokio::test]
async fn two_installs_at_once_both_count() {
    let two = Two::new().await;
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    let desk = two.publish(Draft::new("desk", "1.0.0")).await.package;
    let (first, second) = tokio::join!(two.add(lamp, None), two.add(desk, None));
    first.unwrap();
    second.unwrap();
    assert_eq!(two.installed(), ["desk 1.0.0", "lamp 1.0.0"]);
    two.close().await;
}

/// A collection comes between the look at what is unpacked and the switch.
#[tokio::test]
async fn what_a_collection_took_meanwhile_is_not_counted_on() {
    let two = Two::new().await;
    let lamp = two.publish(Draft::new("lamp", "1.0.0")).await.package;
    two.add(lamp, None).await.unwrap();
    two.publish(Draft::new("lamp", "1.1.0")).await;
    two.run(Request::Update(None)).await.unwrap();
    for _ in 0..5 {
        two.run(Request::Remove(lamp)).await.unwrap();
        two.add(lamp, None).await.unwrap();
    }
    let old = plan(&two.user, &Request::RollbackTo(1)).await.unwrap();
    let selector = Some(Selector::parse("1.0.0").unwrap());
    let again = plan(&two.user, &Request::Add { package: lamp, selector }).await.unwrap();
    let progress = Progress::unwatched();
    let added = {
        let mut back = std::pin::pin!(apply(&two.user, old, &progress));
        let mut add = std::pin::pin!(apply(&two.user, again, &progress));
        let turn = two.user.installed.turn().await;
        let wait = (futures::poll!(&mut back).is_pending(), futures::poll!(&mut add).is_pending());
        assert_eq!(wait, (true, true), "for their turn, or for the look at what lies there");
        turn.sweep().unwrap();
        drop(turn);
        let (back, add) = futures::join!(back, add);
        assert!(matches!(back, Err(InstallError::Changed)), "{back:?}");
        add
    };
    match added {
        // The look found nothing there any more, and it was unpacked again.
        Ok(_) => assert_eq!(two.installed(), ["lamp 1.0.0"]),
        Err(error) => {
            assert!(matches!(error, InstallError::Changed), "{error}");
            assert_eq!(two.installed(), ["lamp 1.1.0"]);
        }
    }
    two.close().await;
}
