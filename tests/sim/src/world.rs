//! Synthetic writers: identities, devices and their logs of one package.

use syncra_protocol::entry::{
    Body, Entry, HandleClaim, IdentityGenesis, NameClaim, PackageGenesis, PackageJoin, RefClass, RefMove, Release,
    SeenHead, Yank, recovery_commitment,
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
#[derive(Debug)]
pub struct Chain {
    secret: DeviceSecret,
    /// Its hashes.
    pub log: Log,
    /// Its entries' bytes.
    pub entries: Vec<Vec<u8>>,
}

impl Chain {
    /// The empty log of the key that `seed` makes.
    pub fn new(seed: u8, origin: impl FnOnce(syncra_protocol::key::DeviceKey) -> Origin) -> Self {
        Self::of(DeviceSecret::from_seed(&[seed; 32]), origin)
    }

    /// The empty log of a key.
    pub fn of(secret: DeviceSecret, origin: impl FnOnce(syncra_protocol::key::DeviceKey) -> Origin) -> Self {
        let log = Log::new(origin(secret.public()));
        Self { secret, log, entries: Vec::new() }
    }

    /// Another history by the same key: the first `size` entries and nothing since.
    #[must_use]
    pub fn fork(&self, size: u64) -> Self {
        let mut fork = Self {
            secret: DeviceSecret::from_seed(&self.secret.seed()),
            log: Log::new(self.origin()),
            entries: vec![],
        };
        for entry in &self.entries[..usize::try_from(size).expect("a test's own values")] {
            fork.append_bytes(entry.clone());
        }
        fork
    }

    /// The key that signs it.
    #[must_use]
    pub fn secret(&self) -> DeviceSecret {
        DeviceSecret::from_seed(&self.secret.seed())
    }

    /// Which log it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        *self.log.origin()
    }

    /// Entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// Appends an entry.
    pub fn append(&mut self, seen: Vec<SeenHead>, body: Body) -> EntryId {
        self.append_bytes(Entry { seen, body }.encode().expect("a test's own values"))
    }

    /// Appends an entry's bytes, whatever they are.
    pub fn append_bytes(&mut self, bytes: Vec<u8>) -> EntryId {
        self.log.append(&bytes).expect("a test's own values");
        let id = EntryId::of(&bytes);
        self.entries.push(bytes);
        id
    }

    /// The signed head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head_at(self.size())
    }

    /// The signed head of an earlier size.
    #[must_use]
    pub fn head_at(&self, size: u64) -> Head {
        let root = self.log.root_at(size).expect("a test's own values");
        Head::sign(&self.secret, Checkpoint { origin: self.origin(), size, root }).expect("a test's own values")
    }

    /// Entries from one index up to another.
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> &[Vec<u8>] {
        &self.entries
            [usize::try_from(from).expect("a test's own values")..usize::try_from(to).expect("a test's own values")]
    }

    /// What somebody who holds all of it would say to have seen.
    #[must_use]
    pub fn seen(&self) -> SeenHead {
        SeenHead { origin: self.origin(), size: self.size(), root: self.log.root() }
    }
}

/// A package with owners, each with one device, and perhaps a stranger.
#[derive(Debug)]
pub struct World {
    /// Its id.
    pub package: PackageId,
    /// Its Genesis entry.
    pub genesis: Vec<u8>,
    /// The owners' own logs.
    pub identities: Vec<Chain>,
    /// The first belongs to the creator; then the other owners' in order; then strangers'.
    pub writers: Vec<Chain>,
}

impl World {
    /// A package of so many owners.
    #[must_use]
    pub fn new(n_owners: u8) -> Self {
        Self::with_strangers(n_owners, 0)
    }

    /// A package of so many owners, with writers who own nothing.
    #[must_use]
    pub fn with_strangers(n_owners: u8, n_strangers: u8) -> Self {
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
        let genesis = Entry::new(genesis).encode().expect("a test's own values");
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

    /// All logs, identities first.
    #[must_use]
    pub fn chains(&self) -> Vec<&Chain> {
        self.identities.iter().chain(&self.writers).collect()
    }

    /// The log of `origin`.
    #[must_use]
    pub fn chain(&self, origin: &Origin) -> &Chain {
        self.chains().into_iter().find(|chain| chain.origin() == *origin).expect("a test's own values")
    }

    /// An empty set that knows the owners.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::open(self.package, &self.genesis).expect("a test's own values");
        for identity in &self.identities {
            evidence.admit_identity(&identity.entries[0]).expect("a test's own values");
        }
        evidence
    }

    /// A set that holds everything.
    #[must_use]
    pub fn full_evidence(&self) -> Evidence {
        let mut evidence = self.evidence();
        for chain in self.chains() {
            evidence.extend(&chain.entries, &chain.head()).expect("a test's own values");
        }
        evidence
    }

    /// What writer `by` would say to have seen of writer `of`.
    #[must_use]
    pub fn seen(&self, of: usize) -> Vec<SeenHead> {
        vec![self.writers[of].seen()]
    }

    /// Writer `by` publishes.
    pub fn publish(&mut self, by: usize, seen: Vec<SeenHead>, version: &str, tree: u8) -> ReleaseId {
        self.writers[by].append(seen, release(version, tree)).into()
    }

    /// Writer `by` moves a channel.
    pub fn set(&mut self, by: usize, seen: Vec<SeenHead>, channel: &str, new: Option<ReleaseId>) -> EntryId {
        self.writers[by].append(seen, moved(RefClass::Channel, channel, new))
    }

    /// Writer `by` yanks, or takes it back.
    pub fn yank(&mut self, by: usize, seen: Vec<SeenHead>, release: ReleaseId, undo: bool) -> EntryId {
        self.writers[by].append(seen, Body::Yank(Yank { release, undo, reason: None }))
    }
}

/// The log of an identity that owns nothing.
#[must_use]
pub fn stranger(seed: u8) -> Chain {
    identity(seed).1
}

/// The recovery key of the identity that `seed` makes.
#[must_use]
pub fn recovery_secret(seed: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[!seed; 32])
}

fn identity(seed: u8) -> (IdentityId, Chain, u8) {
    let log_key = DeviceSecret::from_seed(&[seed; 32]).public();
    let recovery = recovery_commitment(&recovery_secret(seed).public());
    let genesis = Body::IdentityGenesis(IdentityGenesis { log_key, recovery, nonce: [seed; 16] });
    let genesis = Entry::new(genesis).encode().expect("a test's own values");
    let id = IdentityId::from(EntryId::of(&genesis));
    let mut chain = Chain::new(seed, |key| Origin::identity(id, key));
    chain.append_bytes(genesis);
    (id, chain, seed)
}

/// A name claim.
#[must_use]
pub fn name(name: &str, package: Option<PackageId>) -> Body {
    Body::Name(NameClaim { name: PackageName::parse(name).expect("a test's own values"), package })
}

/// A handle claim.
#[must_use]
pub fn handle(handle: &str) -> Body {
    Body::Handle(HandleClaim { handle: Handle::parse(handle).expect("a test's own values") })
}

/// A release of nothing, told apart by `tree`.
#[must_use]
pub fn release(version: &str, tree: u8) -> Body {
    Body::Release(Release {
        version: Version::parse(version).expect("a test's own values"),
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
#[must_use]
pub fn moved(class: RefClass, name: &str, new: Option<ReleaseId>) -> Body {
    let old = if new.is_none() { Some(ReleaseId::from_bytes([0xee; 32])) } else { None };
    Body::Ref(RefMove { class, name: RefName::parse(name).expect("a test's own values"), old, new })
}
