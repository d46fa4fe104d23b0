//! Synthetic writers: identities, devices and their logs of one package.

use syncra_protocol::entry::{
    Body, Entry, HandleClaim, IdentityGenesis, NameClaim, PackageGenesis, PackageJoin, RefClass, RefMove, Release,
    SeenHead, Yank,
};
use syncra_protocol::evidence::Evidence;
use syncra_protocol::id::{BlobId, ContentRoot, EntryId, IdentityId, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::{Handle, PackageName, RefName};
use syncra_protocol::origin::Origin;
use syncra_protocol::version::Version;

/// One writer's log with its secret: it can sign any of its sizes.
pub(crate) struct Chain {
    secret: DeviceSecret,
    pub(crate) log: Log,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Chain {
    pub(crate) fn new(seed: u8, origin: impl FnOnce(syncra_protocol::key::DeviceKey) -> Origin) -> Self {
        let secret = DeviceSecret::from_seed(&[seed; 32]);
        let log = Log::new(origin(secret.public()));
        Self { secret, log, entries: Vec::new() }
    }

    /// Another history by the same key: the first `size` entries and nothing since.
    pub(crate) fn fork(&self, size: u64) -> Self {
        let mut fork = Self {
            secret: DeviceSecret::from_seed(&self.secret.seed()),
            log: Log::new(self.origin()),
            entries: vec![],
        };
        for entry in &self.entries[..usize::try_from(size).unwrap()] {
            fork.append_bytes(entry.clone());
        }
        fork
    }

    pub(crate) fn origin(&self) -> Origin {
        *self.log.origin()
    }

    pub(crate) fn size(&self) -> u64 {
        self.log.size()
    }

    pub(crate) fn append(&mut self, seen: Vec<SeenHead>, body: Body) -> EntryId {
        self.append_bytes(Entry { seen, body }.encode().unwrap())
    }

    pub(crate) fn append_bytes(&mut self, bytes: Vec<u8>) -> EntryId {
        self.log.append(&bytes).unwrap();
        let id = EntryId::of(&bytes);
        self.entries.push(bytes);
        id
    }

    pub(crate) fn head(&self) -> Head {
        self.head_at(self.size())
    }

    pub(crate) fn head_at(&self, size: u64) -> Head {
        let root = self.log.root_at(size).unwrap();
        Head::sign(&self.secret, Checkpoint { origin: self.origin(), size, root }).unwrap()
    }

    pub(crate) fn slice(&self, from: u64, to: u64) -> &[Vec<u8>] {
        &self.entries[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()]
    }

    pub(crate) fn seen(&self) -> SeenHead {
        SeenHead { origin: self.origin(), size: self.size(), root: self.log.root() }
    }
}

/// A package with owners, each with one device, and perhaps a stranger.
pub(crate) struct World {
    pub(crate) package: PackageId,
    pub(crate) genesis: Vec<u8>,
    pub(crate) identities: Vec<Chain>,
    /// The first belongs to the creator; then the other owners' in order; then strangers'.
    pub(crate) writers: Vec<Chain>,
}

impl World {
    pub(crate) fn new(n_owners: u8) -> Self {
        Self::with_strangers(n_owners, 0)
    }

    pub(crate) fn with_strangers(n_owners: u8, n_strangers: u8) -> Self {
        let mut people: Vec<_> = (1..=n_owners).map(identity).collect();
        people.sort_by_key(|(id, ..)| *id);
        let (creator, _, seed) = &people[0];
        let genesis = Body::PackageGenesis(PackageGenesis {
            kind: PackageKind::World,
            owners: people.iter().map(|(id, ..)| *id).collect(),
            owner_threshold: n_owners / 2 + 1,
            creator: *creator,
            log_key: DeviceSecret::from_seed(&[*seed; 32]).public(),
            nonce: [9; 16],
        });
        let genesis = Entry::new(genesis).encode().unwrap();
        let package = PackageId::from(EntryId::of(&genesis));
        let mut writers = Vec::new();
        let strangers = (n_owners + 1..=n_owners + n_strangers).map(identity);
        let everybody: Vec<_> = people.iter().map(|(id, _, seed)| (*id, *seed)).collect();
        for (n, (id, seed)) in everybody.into_iter().chain(strangers.map(|(id, _, seed)| (id, seed))).enumerate() {
            let mut chain = Chain::new(seed, |key| Origin::package(package, key));
            if n == 0 {
                chain.append_bytes(genesis.clone());
            } else {
                chain.append(vec![], Body::PackageJoin(PackageJoin { package, identity: id }));
            }
            writers.push(chain);
        }
        Self { package, genesis, identities: people.into_iter().map(|(_, chain, _)| chain).collect(), writers }
    }

    pub(crate) fn chains(&self) -> Vec<&Chain> {
        self.identities.iter().chain(&self.writers).collect()
    }

    pub(crate) fn chain(&self, origin: &Origin) -> &Chain {
        self.chains().into_iter().find(|chain| chain.origin() == *origin).unwrap()
    }

    /// An empty set that knows the owners.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::open(self.package, &self.genesis).unwrap();
        for identity in &self.identities {
            evidence.admit_identity(&identity.entries[0]).unwrap();
        }
        evidence
    }

    /// A set that holds everything.
    pub(crate) fn full_evidence(&self) -> Evidence {
        let mut evidence = self.evidence();
        for chain in self.chains() {
            evidence.extend(&chain.entries, &chain.head()).unwrap();
        }
        evidence
    }

    /// What writer `by` would say to have seen of writer `of`.
    pub(crate) fn seen(&self, of: usize) -> Vec<SeenHead> {
        vec![self.writers[of].seen()]
    }

    pub(crate) fn publish(&mut self, by: usize, seen: Vec<SeenHead>, version: &str, tree: u8) -> ReleaseId {
        self.writers[by].append(seen, release(version, tree)).into()
    }

    pub(crate) fn set(&mut self, by: usize, seen: Vec<SeenHead>, channel: &str, new: Option<ReleaseId>) -> EntryId {
        self.writers[by].append(seen, moved(RefClass::Channel, channel, new))
    }

    pub(crate) fn yank(&mut self, by: usize, seen: Vec<SeenHead>, release: ReleaseId, undo: bool) -> EntryId {
        self.writers[by].append(seen, Body::Yank(Yank { release, undo, reason: None }))
    }
}

/// The log of an identity that owns nothing.
pub(crate) fn stranger(seed: u8) -> Chain {
    identity(seed).1
}

fn identity(seed: u8) -> (IdentityId, Chain, u8) {
    let log_key = DeviceSecret::from_seed(&[seed; 32]).public();
    let genesis = Body::IdentityGenesis(IdentityGenesis { log_key, recovery: [seed; 32], nonce: [seed; 16] });
    let genesis = Entry::new(genesis).encode().unwrap();
    let id = IdentityId::from(EntryId::of(&genesis));
    let mut chain = Chain::new(seed, |key| Origin::identity(id, key));
    chain.append_bytes(genesis);
    (id, chain, seed)
}

pub(crate) fn name(name: &str, package: Option<PackageId>) -> Body {
    Body::Name(NameClaim { name: PackageName::parse(name).unwrap(), package })
}

pub(crate) fn handle(handle: &str) -> Body {
    Body::Handle(HandleClaim { handle: Handle::parse(handle).unwrap() })
}

pub(crate) fn release(version: &str, tree: u8) -> Body {
    Body::Release(Release {
        version: Version::parse(version).unwrap(),
        tree_id: TreeId::from_bytes([tree; 32]),
        content_root: ContentRoot::from_bytes([tree; 32]),
        manifest: BlobId::from_bytes([tree; 32]),
        total_bytes: 1,
        n_files: 1,
        dependencies: vec![],
        engine: None,
        parents: vec![],
        note: None,
    })
}

/// A move that never fails the rule "old and new differ".
pub(crate) fn moved(class: RefClass, name: &str, new: Option<ReleaseId>) -> Body {
    let old = if new.is_none() { Some(ReleaseId::from_bytes([0xee; 32])) } else { None };
    Body::Ref(RefMove { class, name: RefName::parse(name).unwrap(), old, new })
}
