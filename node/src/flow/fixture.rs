//! Homes that publish and homes that only know, for tests of flows.

use std::path::Path;

use syncra_protocol::id::{BlobId, PackageId};

use super::Parts;
use super::publish::{self, MANIFEST_FILE, Published};
use crate::blobs::Pins;
use crate::home::Home;
use crate::progress::Progress;

/// A home with everything open.
pub(crate) async fn open(dir: &Path) -> Parts {
    Parts::open(Home::open(dir).unwrap()).await.unwrap()
}

/// What to publish.
pub(crate) struct Draft<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) needs: &'a [(&'a str, PackageId, &'a str)],
    pub(crate) files: &'a [(&'a str, &'a [u8])],
}

impl<'a> Draft<'a> {
    pub(crate) fn new(name: &'a str, version: &'a str) -> Self {
        Self { name, version, needs: &[], files: &[] }
    }

    pub(crate) fn needs(self, needs: &'a [(&'a str, PackageId, &'a str)]) -> Self {
        Self { needs, ..self }
    }

    pub(crate) fn files(self, files: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { files, ..self }
    }

    /// Publishes it on `stable`.
    pub(crate) async fn publish(self, parts: &Parts) -> Published {
        let dir = tempfile::tempdir().unwrap();
        let Self { name, version, .. } = self;
        let mut manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"script\"\n");
        manifest.push_str("[dependencies]\n");
        for (needed, package, req) in self.needs {
            manifest.push_str(&format!("\"@me/{needed}\" = {{ version = \"{req}\", package = \"{package}\" }}\n"));
        }
        std::fs::write(dir.path().join(MANIFEST_FILE), manifest).unwrap();
        std::fs::write(dir.path().join("main.syn"), format!("{name} {version}")).unwrap();
        for (path, bytes) in self.files {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        let request = publish::Request::of(dir.path().to_owned());
        let plan = publish::plan(parts, request).await.unwrap();
        publish::publish(parts, plan, &Progress::unwatched()).await.unwrap()
    }
}

/// Gives `to` all that `from` knows of a package, but no content.
pub(crate) async fn tell(from: &Parts, to: &Parts, package: PackageId) {
    let history = from.histories.package(package).unwrap().unwrap();
    let mut heads: Vec<_> = history.evidence.heads().cloned().collect();
    heads.sort_by_key(|head| head.origin().subject == syncra_protocol::origin::Subject::Package(package));
    for head in heads {
        let entries = from.histories.entries(head.origin(), 0, head.size()).unwrap();
        let entries: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_vec()).collect();
        to.histories.commit(0, &entries, &head).await.unwrap();
    }
}

/// Copies the blobs of a release, kept by `pins`.
pub(crate) async fn hand_over(from: &Parts, to: &Parts, published: &Published, pins: &Pins) {
    let (source, target) = (from.blobs().await.unwrap(), to.blobs().await.unwrap());
    let root = BlobId::from(published.release.content_root);
    let mut ids = source.children(root).await.unwrap();
    ids.extend([root, published.release.manifest]);
    for id in ids {
        target.add_pinned(source.read(id, u64::MAX).await.unwrap(), pins).await.unwrap();
    }
}
