//! What a follower makes of heads: each told by hand, and what it does then.

use syncra_protocol::Timestamp;
use syncra_protocol::bounded::Blob;
use syncra_protocol::evidence::Quorum;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::limits::{EVIDENCE_LOGS, HEADS_PER_FRAME};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::cosignature::Cosignature;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::witness::{Statement, Witness};
use syncra_protocol::message::log::Heads;
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::{Effect, Fault, Follower, HEADS_INTERVAL, Input};
use syncra_protocol::sync::omission::Known;

use syncra_sim::world::{Chain, World, release};

/// A stranger's log, beside those of two owners.
const STRANGER: usize = 2;

fn peer(n: u8) -> Peer {
    DeviceSecret::from_seed(&[150 + n; 32]).public()
}

struct Reader {
    world: World,
    follower: Follower,
    now: Timestamp,
}

impl Reader {
    /// Holds so many entries of the two owners' logs of the package, and all of those of their identities.
    fn holding(world: World, sizes: [u64; 2]) -> Self {
        let mut evidence = world.evidence();
        for chain in &world.identities[..2] {
            evidence.extend(&chain.entries, &chain.head()).unwrap();
        }
        for (chain, size) in world.writers.iter().zip(sizes) {
            evidence.extend(chain.slice(0, size), &chain.head_at(size)).unwrap();
        }
        Self { world, follower: Follower::resume(evidence), now: Timestamp(1_000_000) }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.follower.handle(self.now, input);
        std::iter::from_fn(|| self.follower.poll_effect()).collect()
    }

    fn notice(&mut self, from: u8, head: &Head) -> Vec<Effect> {
        self.tell(Input::Notice { peer: peer(from), note: head.note().to_vec() })
    }

    /// Is asked for heads, and says these.
    fn answer(&mut self, of: u8, heads: &[Head]) -> Vec<Effect> {
        let asked = self.tell(Input::PeerUp(peer(of)));
        assert!(asks_heads(&asked), "{asked:?}");
        self.say(of, heads)
    }

    fn say(&mut self, of: u8, heads: &[Head]) -> Vec<Effect> {
        let heads = Heads {
            package_genesis: Blob(self.world.genesis.clone()),
            identity_geneses: vec![],
            notes: heads.iter().map(|head| Blob(head.note().to_vec())).collect(),
        };
        self.tell(Input::Heads { peer: peer(of), heads })
    }

    fn origin(&self, writer: usize) -> Origin {
        self.world.writers[writer].origin()
    }

    fn head(&self, writer: usize, size: u64) -> Head {
        self.world.writers[writer].head_at(size)
    }

    fn is_forked(&self, writer: usize) -> bool {
        self.follower.evidence().unwrap().is_forked(&self.origin(writer))
    }
}

/// Two owners, who have said three things each, and a stranger who has too.
fn world() -> World {
    let mut world = World::with_strangers(2, 1);
    for (writer, tree) in [(0, 1), (1, 2), (STRANGER, 3)] {
        for patch in 0..if writer == 0 { 1 } else { 2 } {
            world.publish(writer, vec![], &format!("{writer}.0.{patch}"), tree + 10 * patch);
        }
    }
    // The first owner's second release is built on all of the other's log.
    let seen = world.seen(1);
    world.publish(0, seen, "0.1.0", 4);
    world
}

/// Another history of a log of `world`, that parts after its first entry.
fn branch(world: &World, writer: usize) -> Chain {
    let mut branch = world.writers[writer].fork(1);
    for tree in 90..92 {
        branch.append(vec![], release(&format!("9.0.{tree}"), tree));
    }
    branch
}

fn proof(world: &World, writer: usize) -> ForkProof {
    ForkProof::new(&world.writers[writer].head_at(3), &branch(world, writer).head(), None).unwrap()
}

fn cosigned(head: &Head) -> Head {
    let secret = DeviceSecret::from_seed(&[77; 32]);
    let mut witness = Witness::new(secret.public());
    witness.record(Statement::recall(head, Timestamp(1_000_000))).unwrap();
    let said: Vec<Cosignature> = witness.cosignature(&secret, head.origin()).into_iter().collect();
    head.with_evidence(None, None, &said)
}

fn asks_heads(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::AskHeads { .. }))
}

fn is_told_of_a_fork(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Fault { fault: Fault::Fork(_), .. }))
}

fn is_told_of_witnesses(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Cosigned(_)))
}

/// What an answer showed of a log: offered, known and by what.
fn shown(effects: &[Effect], log: Origin) -> Option<(u64, u64, Known)> {
    let all = effects.iter().find_map(|effect| match effect {
        Effect::Shown { shown, .. } => Some(shown),
        _ => None,
    });
    let one = all.expect("an answer was compared").iter().find(|shown| shown.origin == log)?;
    Some((one.offered, one.known, one.by))
}

fn is_compared(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Shown { .. }))
}

#[test]
fn an_answer_is_compared_with_what_is_held_what_others_offer_and_what_entries_name() {
    let mut reader = Reader::holding(world(), [3, 2]);
    let [first, second, stranger] = [0, 1, STRANGER].map(|writer| reader.origin(writer));
    let identity = reader.world.identities[1].origin();
    let [whole, short] = [(0, 3), (1, 2)].map(|(writer, size)| reader.head(writer, size));

    let answered = reader.answer(1, std::slice::from_ref(&whole));
    assert_eq!(shown(&answered, first), Some((3, 3, Known::Signed)));
    assert_eq!(shown(&answered, identity), Some((0, 1, Known::Signed)), "what is left out counts as not offered");
    assert_eq!(shown(&answered, second), Some((0, 3, Known::Named(first))), "an entry names more than is held");

    let newer = reader.head(1, 3);
    assert_eq!(shown(&reader.answer(2, std::slice::from_ref(&newer)), second).map(|(offered, ..)| offered), Some(3));
    let answered = reader.answer(1, &[whole.clone(), short.clone()]);
    assert_eq!(shown(&answered, second), Some((2, 3, Known::Signed)), "a signature says more than a name");

    // Strangers' logs are nobody's to leave out, and of a forked one there is no newest head.
    let answered = reader.answer(1, &[whole.clone(), reader.head(STRANGER, 3)]);
    assert_eq!(shown(&answered, stranger), None);
    reader.tell(Input::Fork(Box::new(proof(&reader.world, 1).into())));
    assert_eq!(shown(&reader.answer(1, &[whole]), second), None);
}

#[test]
fn what_others_offer_counts_as_known_and_what_a_peer_offered_itself_does_not() {
    let mut reader = Reader::holding(world(), [2, 2]);
    let second = reader.origin(1);
    let [short, newer] = [2, 3].map(|size| reader.head(1, size));
    assert_eq!(shown(&reader.answer(2, &[newer]), second), Some((3, 2, Known::Signed)), "it is the first to say so");
    let short = std::slice::from_ref(&short);
    assert_eq!(shown(&reader.answer(1, short), second), Some((2, 3, Known::Signed)), "another peer offers more");
    assert_eq!(shown(&reader.answer(2, short), second), Some((2, 2, Known::Signed)), "nobody else does");
}

#[test]
fn an_answer_that_may_have_had_no_room_for_more_leaves_nothing_out() {
    let mut reader = Reader::holding(world(), [2, 2]);
    let full = vec![reader.head(0, 2); HEADS_PER_FRAME];
    assert!(!is_compared(&reader.answer(1, &full)));
    assert!(is_compared(&reader.answer(1, &full[1..])));
}

#[test]
fn a_notice_of_the_newest_says_that_a_peer_has_caught_up_and_an_older_one_says_nothing() {
    let mut reader = Reader::holding(world(), [2, 2]);
    let [older, newest] = [1, 2].map(|size| reader.head(0, size));
    reader.tell(Input::PeerUp(peer(1)));
    assert!(!is_compared(&reader.notice(1, &older)));
    assert_eq!(shown(&reader.notice(1, &newest), *newest.origin()), Some((2, 2, Known::Signed)));
}

#[test]
fn who_is_said_to_have_news_is_asked_for_all_heads_and_who_pushes_a_note_is_not() {
    let mut reader = Reader::holding(world(), [2, 2]);
    let head = reader.head(0, 2);
    reader.answer(1, std::slice::from_ref(&head));
    assert!(!asks_heads(&reader.notice(1, &head)));
    assert!(asks_heads(&reader.tell(Input::Told { peer: peer(1), note: head.note().to_vec() })));
}

#[test]
fn who_says_something_new_each_time_is_asked_again_as_soon_as_ever() {
    let mut reader = Reader::holding(world(), [2, 2]);
    reader.tell(Input::PeerUp(peer(1)));
    for size in 1..=3 {
        let head = reader.head(STRANGER, size);
        reader.say(1, &[head]);
        reader.now = reader.now.after(HEADS_INTERVAL);
        reader.follower.handle_timeout(reader.now);
        let asked: Vec<Effect> = std::iter::from_fn(|| reader.follower.poll_effect()).collect();
        assert!(asks_heads(&asked), "after {size}");
    }
}

/// What is kept of a peer's offers is old news when it says it again; what found no room is new each time.
#[test]
fn of_one_peer_no_more_offers_are_kept_than_a_package_has_logs() {
    const TIMES: usize = 3;
    for (nth, is_kept) in [(EVIDENCE_LOGS - 1, true), (EVIDENCE_LOGS, false)] {
        let mut reader = Reader::holding(world(), [2, 2]);
        let package = reader.world.package;
        let strangers = (0..=u64::try_from(EVIDENCE_LOGS).unwrap()).map(|n| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&n.to_le_bytes());
            let mut chain = Chain::of(DeviceSecret::from_seed(&seed), |key| Origin::package(package, key));
            chain.append_bytes(vec![1]);
            chain.head()
        });
        let heads: Vec<Head> = strangers.collect();
        reader.tell(Input::PeerUp(peer(1)));
        for head in &heads {
            reader.notice(1, head);
        }
        let asked = (0..TIMES).filter(|_| {
            reader.say(1, std::slice::from_ref(&heads[nth]));
            reader.now = reader.now.after(HEADS_INTERVAL);
            reader.follower.handle_timeout(reader.now);
            asks_heads(&std::iter::from_fn(|| reader.follower.poll_effect()).collect::<Vec<_>>())
        });
        assert_eq!(asked.count() < TIMES, is_kept, "the log number {nth}");
    }
}

#[test]
fn a_note_of_another_package_is_a_lie() {
    let mut reader = Reader::holding(world(), [2, 2]);
    let other = World::new(1).writers[0].head();
    assert_ne!(other.origin().subject, reader.origin(0).subject);
    reader.tell(Input::PeerUp(peer(1)));
    let told = reader.notice(1, &other);
    assert!(told.iter().any(|effect| matches!(effect, Effect::Fault { fault: Fault::BadNote, .. })), "{told:?}");
}

#[test]
fn who_offers_less_than_before_takes_back_what_it_offered() {
    let mut reader = Reader::holding(world(), [2, 2]);
    reader.tell(Input::PeerUp(peer(1)));
    let [older, newer] = [1, 3].map(|size| reader.head(1, size));
    reader.notice(1, &newer);
    assert_eq!(reader.follower.behind().get(newer.origin()), Some(&3));
    reader.notice(1, &older);
    assert_eq!(reader.follower.behind(), [].into());
}

#[test]
fn a_warning_freezes_a_log_that_is_held_and_says_nothing_of_a_strangers() {
    let mut reader = Reader::holding(world(), [3, 3]);
    reader.tell(Input::PeerUp(peer(1)));
    let [known, stranger] =
        [1, STRANGER].map(|writer| reader.head(writer, 3).with_evidence(Some(&proof(&reader.world, writer)), None, []));
    assert!(!is_told_of_a_fork(&reader.notice(1, &stranger)));
    assert!(is_told_of_a_fork(&reader.notice(1, &known)) && reader.is_forked(1));
    assert!(!is_told_of_a_fork(&reader.notice(1, &known)), "once");
}

#[test]
fn two_heads_that_contradict_each_other_are_a_fork_before_anybody_has_delivered_either() {
    // Of the second owner's log one entry is held, or nothing.
    for n_held in [0, 1] {
        let mut reader = Reader::holding(world(), [2, n_held]);
        let heads = [reader.head(1, 3), branch(&reader.world, 1).head()];
        reader.tell(Input::PeerUp(peer(1)));
        reader.tell(Input::PeerUp(peer(2)));
        assert!(!is_told_of_a_fork(&reader.notice(1, &heads[0])));
        assert!(is_told_of_a_fork(&reader.notice(2, &heads[1])), "{n_held} held");
        // One history is fetched where there is nothing, for what is in both.
        assert_eq!(reader.is_forked(1), n_held > 0);
    }
}

#[test]
fn what_witnesses_say_of_what_is_held_is_passed_on_also_of_a_forked_log_where_it_decides() {
    let mut reader = Reader::holding(world(), [2, 3]);
    reader.tell(Input::PeerUp(peer(1)));
    let origin = reader.origin(1);
    let [head, seen] = [reader.head(1, 3), cosigned(&reader.head(1, 3))];
    assert!(!is_told_of_witnesses(&reader.notice(1, &head)));
    assert!(is_told_of_witnesses(&reader.notice(1, &seen)));
    reader.tell(Input::Fork(Box::new(proof(&reader.world, 1).into())));
    assert!(is_told_of_witnesses(&reader.notice(1, &seen)));

    let counted = |reader: &Reader| reader.follower.state().unwrap().forked[&origin];
    let before = counted(&reader);
    let cut = syncra_protocol::entry::Cut { size: 3, root: head.root() };
    reader.tell(Input::Witnessed(origin, Quorum::new(1, 1, vec![vec![cut]])));
    assert_eq!((before, counted(&reader)), (0, 3));
    reader.tell(Input::Witnessed(origin, None));
    assert_eq!(counted(&reader), 0, "they are another reader's witnesses now");
}
