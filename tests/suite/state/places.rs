//! Which logs of a package a node takes in from its disk when there are more than a package has room for.

use syncra_node::flow::Parts;
use syncra_node::home::Home;
use syncra_protocol::entry::{
    AddDevice, Body, DeviceRole, Entry, IdentityGenesis, IdentityJoin, PackageGenesis, PackageJoin, Role, Roles,
};
use syncra_protocol::id::{EntryId, IdentityId, PackageId};
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::limits::HOLDER_LOGS;
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;
use syncra_sim::world::Chain;

fn secret(person: u8, device: u8) -> DeviceSecret {
    let mut seed = [person; 32];
    seed[0] = device;
    DeviceSecret::from_seed(&seed)
}

/// The logs of somebody's identity and so many devices.
fn person(person: u8, n_devices: u8) -> (IdentityId, Vec<Chain>) {
    let genesis = IdentityGenesis { log_key: secret(person, 0).public(), recovery: [person; 32], nonce: [person; 16] };
    let genesis = Entry::new(Body::IdentityGenesis(genesis)).encode().expect("an entry");
    let id = IdentityId::from(EntryId::of(&genesis));
    let mut first = Chain::of(secret(person, 0), |key| Origin::identity(id, key));
    first.append_bytes(genesis);
    let mut logs = Vec::new();
    for n in 1..n_devices {
        let label = RefName::parse(&format!("device-{n}")).expect("a label");
        let device = secret(person, n).public();
        first.append(vec![], Body::AddDevice(AddDevice { device, role: DeviceRole::Manager, label }));
        let mut own = Chain::of(secret(person, n), |key| Origin::identity(id, key));
        own.append(vec![], Body::IdentityJoin(IdentityJoin { identity: id }));
        logs.push(own);
    }
    logs.insert(0, first);
    (id, logs)
}

#[tokio::test]
async fn from_its_disk_a_node_takes_in_the_owners_logs_before_others() {
    let (alice, of_alice) = person(1, 3);
    // A smaller id and many devices: read person by person in the order of ids it would come first.
    let (bob, of_bob) = (2..60).map(|n| person(n, 130)).find(|(id, _)| *id < alice).expect("one in two");
    let genesis = Body::PackageGenesis(PackageGenesis {
        kind: PackageKind::World,
        owners: vec![alice],
        owner_threshold: 1,
        creator: alice,
        log_key: secret(1, 0).public(),
        nonce: [7; 16],
    });
    let genesis = Entry::new(genesis).encode().expect("an entry");
    let package = PackageId::from(EntryId::of(&genesis));
    let mut first = Chain::of(secret(1, 0), |key| Origin::package(package, key));
    first.append_bytes(genesis);
    let named = Roles {
        previous: None,
        changes: vec![(bob, Some(Role::Contributor))],
        owner_threshold: 1,
        protect: vec![],
        cuts: vec![],
        rules: None,
    };
    first.append(vec![], Body::Roles(named));
    let join = |identity: IdentityId, of: &Chain| {
        let mut own = Chain::of(of.secret(), |key| Origin::package(package, key));
        own.append(vec![], Body::PackageJoin(PackageJoin { package, identity }));
        own
    };
    let mut logs: Vec<Chain> = of_alice[1..].iter().map(|log| join(alice, log)).collect();
    logs.extend(of_bob.iter().map(|log| join(bob, log)));
    logs.push(first);
    logs.extend(of_alice);
    logs.extend(of_bob);

    let dir = tempfile::tempdir().expect("a directory");
    let parts = Parts::open(Home::open(dir.path()).expect("a home")).await.expect("opens");
    for chain in &logs {
        parts.histories.commit(0, &chain.entries, &chain.head()).await.expect("stores");
    }
    let history = parts.histories.package(package).expect("reads").expect("is there");
    let alices: Vec<_> = (0..3).map(|n| secret(1, n).public()).collect();
    let n_alices = history.evidence.heads().filter(|head| alices.contains(&head.origin().key)).count();
    assert_eq!(n_alices, 6, "two logs of each of her devices");
    assert_eq!(history.evidence.heads().count(), 6 + HOLDER_LOGS);
    assert_eq!(history.evidence.without_room(), [bob].into());
    parts.close().await;
}
