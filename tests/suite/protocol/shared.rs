//! The log of an identity is verified once and shared by the packages that it owns.

use std::sync::Arc;

use syncra_protocol::evidence::{Evidence, EvidenceError, Identity, IdentityLog, UNKNOWN_LOGS};
use syncra_protocol::log::ExtendError;
use syncra_protocol::log::fork::ForkProof;

use syncra_sim::world::{Chain, World, handle, name, stranger};

/// Two owners; the first says something.
fn world() -> World {
    let mut world = World::new(2);
    world.identities[0].append(vec![], handle("alice"));
    let package = world.package;
    world.identities[0].append(vec![], name("lamp", Some(package)));
    world.publish(0, vec![], "1.0.0", 1);
    world
}

fn log_of(chain: &Chain, size: u64) -> IdentityLog {
    IdentityLog::verify(chain.slice(0, size), &chain.head_at(size)).unwrap()
}

#[test]
fn packages_of_one_owner_hold_one_log_and_one_state() {
    let world = world();
    let identity = Identity::gather(vec![log_of(&world.identities[0], 3)], []).unwrap();
    let sets = [world.full_evidence(), world.evidence(), Evidence::open(world.package, &world.genesis).unwrap()];
    for mut evidence in sets {
        evidence.share_all(&identity).unwrap();
        if evidence.size(&world.writers[0].origin()) == 0 {
            evidence.extend(&world.writers[0].entries, &world.writers[0].head()).unwrap();
        }
        let state = evidence.fold();
        let owner = state.owners.values().find(|owner| owner.handle.is_some()).unwrap();
        assert!(Arc::ptr_eq(owner, identity.state()), "the owner's state was computed again");
        assert_eq!(state.versions.len(), 1);
        assert!(evidence.identity_genesis_bytes().any(|bytes| bytes == world.identities[0].entries[0]));
    }
}

#[test]
fn what_is_shared_grows_for_those_who_take_the_new_one() {
    let mut world = world();
    let old = log_of(&world.identities[0], 3);
    let mut evidence = world.full_evidence();
    evidence.share(&old).unwrap();
    let before = evidence.fold();
    world.identities[0].append(vec![], handle("alicia"));
    let chain = &world.identities[0];
    let new = old.clone().extended(chain.slice(3, 4), &chain.head()).unwrap();
    assert_eq!(evidence.fold(), before, "it is a value: nobody else's copy has changed");
    assert_eq!(old.log().size(), 3);
    evidence.share(&new).unwrap();
    let mut alone = world.evidence();
    for chain in world.chains() {
        alone.extend(&chain.entries, &chain.head()).unwrap();
    }
    assert_eq!(evidence.fold(), alone.fold());
    assert_ne!(evidence.fold(), before);
    // A set that goes on by itself no longer shares, and is right all the same.
    world.identities[0].append(vec![], handle("alison"));
    let chain = &world.identities[0];
    evidence.extend(chain.slice(4, 5), &chain.head()).unwrap();
    let handles: Vec<_> = evidence.fold().owners.values().filter_map(|owner| owner.handle.clone()).collect();
    assert_eq!(handles.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alison"]);
    let older = EvidenceError::Extend(ExtendError::Older { held: 5, offered: 4 });
    assert_eq!(evidence.share(&new), Err(older), "never back");
}

#[test]
fn another_history_is_neither_shared_nor_read_on() {
    let mut world = world();
    let mut branch = world.identities[0].fork(2);
    branch.append(vec![], handle("mallory"));
    branch.append(vec![], handle("mallet"));
    let other = log_of(&branch, 4);
    let mut evidence = world.full_evidence();
    let before = evidence.fold();
    assert_eq!(evidence.share(&other), Err(EvidenceError::Extend(ExtendError::Root { size: 4 })));
    let chain = &world.identities[0];
    let wrong = log_of(chain, 3).extended(branch.slice(3, 4), &branch.head()).map(drop);
    assert_eq!(wrong, Err(EvidenceError::Extend(ExtendError::Root { size: 4 })));

    evidence.freeze(ForkProof::new(&chain.head(), &branch.head_at(3), None).unwrap());
    let frozen = evidence.fold();
    assert_ne!(frozen, before);
    world.identities[0].append(vec![], handle("alicia"));
    let chain = &world.identities[0];
    assert_eq!(evidence.share(&log_of(chain, 4)), Err(EvidenceError::Frozen));
    evidence.share(&log_of(chain, 3)).unwrap();
    assert_eq!(evidence.fold(), frozen, "the same log again thaws nothing");
}

#[test]
fn only_logs_of_identities_are_shared_and_strangers_have_their_limit() {
    let world = world();
    let package = &world.writers[0];
    assert_eq!(IdentityLog::verify(&package.entries, &package.head()).map(drop), Err(EvidenceError::NoIdentity));
    let mut evidence = Evidence::open(world.package, &world.genesis).unwrap();
    for seed in 100..100 + u8::try_from(UNKNOWN_LOGS).unwrap() {
        evidence.share(&log_of(&stranger(seed), 1)).unwrap();
    }
    assert_eq!(evidence.share(&log_of(&stranger(99), 1)), Err(EvidenceError::TooManyLogs));
    evidence.share(&log_of(&world.identities[0], 1)).expect("there is always room for owners");
    assert_eq!(evidence.identity_genesis_bytes().count(), 1);
}
