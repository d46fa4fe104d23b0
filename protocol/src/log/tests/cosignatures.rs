//! Cosignatures: what others make of them, and more than 100,000 damaged, moved and forged ones, none accepted.

use core::cell::Cell;

use super::rng::Rng;
use super::*;
use crate::Timestamp;
use crate::limits::{CLOCK_TOLERANCE_MS, NOTE_BYTES, NOTE_SIGNATURES, WITNESSES};
use cosignature::{Cosignature, CosignatureError, WitnessKey};
use data_encoding::BASE64;
use fork::ForkProof;
use note::{Note, VkeyError};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn cosign(witness: u8, head: &Head, seconds: u64) -> Cosignature {
    Cosignature::sign(&secret(witness), *head.checkpoint(), Timestamp(seconds * 1_000))
}

/// What a reader makes of a note that anybody sent.
fn read(note: &[u8], listed: &[WitnessKey]) -> Vec<Cosignature> {
    Head::verify(note).map(|head| Cosignature::all_of(&head, listed, NOW)).unwrap_or_default()
}

fn with_lines(head: &Head, lines: &[String]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    [head.note(), lines.as_bytes()].concat()
}

#[test]
fn what_witnesses_say_travels_in_the_note() {
    let head = head(1, &log(1, 20, u64::MAX), 20);
    let said = [cosign(40, &head, 1_799_999_000), cosign(41, &head, 1_799_999_500)];
    let cosigned = head.with_evidence(None, None, &said);
    assert_eq!(Head::verify(cosigned.note()).as_ref(), Ok(&cosigned));
    assert_eq!(cosigned.without_cosignatures(), head);
    assert_eq!(read(cosigned.note(), &[]), said);
    assert_eq!(said[0].at(), Timestamp(1_799_999_000_000));
    assert_eq!(head.with_evidence(None, None, &[]), head);
    assert_eq!(
        cosigned.with_evidence(None, None, &said[..1]),
        head.with_evidence(None, None, &said[..1]),
        "lines do not pile up"
    );

    // Of two lines the later counts, in any order, and a line said twice is one.
    let later = cosign(40, &head, 1_799_999_900);
    for lines in [[&said[0], &later], [&later, &said[0]], [&later, &later]] {
        let note = with_lines(&head, &lines.map(Cosignature::line));
        assert_eq!(read(&note, &[]), std::slice::from_ref(&later));
    }
    // Nobody witnesses for themselves.
    assert_eq!(read(&with_lines(&head, &[cosign(1, &head, 1_799_999_000).line()]), &[]), []);
}

#[test]
fn a_note_has_room_for_every_witness_of_a_list_and_a_fork_proof_comes_first() {
    let (honest, forked) = (log(1, 300, u64::MAX), log(1, 300, 3));
    let newest = head(1, &honest, 300);
    let many: Vec<_> = (40..90).map(|n| cosign(n, &newest, 1_799_999_000)).collect();
    let full = newest.with_evidence(None, None, &many);
    assert!(full.note().len() <= NOTE_BYTES);
    assert!(read(full.note(), &[]).len() >= WITNESSES);
    let lines = Note::parse(full.note()).expect("a note").signatures().len();
    assert!(lines <= NOTE_SIGNATURES);

    // Foreign names may be short: then it is the number of lines that ends.
    let short: Vec<_> = (40..90_u8)
        .map(|n| {
            let foreign = note::print_vkey(&format!("w{n}"), 0x04, &secret(n).public()).parse().expect("a witness");
            let signature = *cosign(n, &newest, 1_799_999_000).signature();
            Cosignature::check(foreign, *newest.checkpoint(), 1_799_999_000, signature, NOW).expect("signed")
        })
        .collect();
    let crowded = newest.with_evidence(None, None, &short);
    assert_eq!(Head::verify(crowded.note()).as_ref(), Ok(&crowded), "others can read it");
    assert_eq!(Note::parse(crowded.note()).expect("a note").signatures().len(), NOTE_SIGNATURES);

    let proof = ForkProof::from_log(&honest, &newest, &head(1, &forked, 299)).expect("a fork");
    let warned = newest.with_evidence(Some(&proof), None, &many);
    assert_eq!(ForkProof::carried_by(&warned).as_ref(), Some(&proof));
    assert_eq!(ForkProof::carried_by(&full), None);
    let found = Head::verify(warned.note()).expect("still a note");
    assert_eq!(Note::parse(found.note()).expect("a note").signatures()[1].name, "syncra/fork");
    println!("{} cosignatures beside a fork proof", read(warned.note(), &[]).len());
    // A proof against another log is no news about this one.
    let stranger = head(2, &log(2, 20, u64::MAX), 20);
    assert_eq!(stranger.with_evidence(Some(&proof), None, &[]), stranger);
    assert_eq!(ForkProof::carried_by(&Head::verify(&with_lines(&stranger, &[proof.line()])).expect("a note")), None);
}

/// Whose line it is, says its name and its key id: neither alone, and a foreign name says it to who lists its key.
#[test]
fn a_line_is_read_as_that_of_the_witness_that_it_names() {
    let (newest, older) = (head(1, &log(1, 20, u64::MAX), 20), head(1, &log(1, 20, u64::MAX), 19));
    let said = cosign(40, &newest, 1_799_999_000);
    let timed = [&1_799_999_000_u64.to_be_bytes()[..], &said.signature().0].concat();
    let (ours, other) = (said.witness().clone(), WitnessKey::of(secret(41).public()));
    let line = |name: &str, id| note::signature_line(name, id, &timed);
    let read_line = |line: String, listed: &[WitnessKey]| read(&with_lines(&newest, &[line]), listed);
    assert_eq!(read_line(line(ours.name(), ours.id()), &[]), std::slice::from_ref(&said));
    assert_eq!(read_line(line(ours.name(), other.id()), std::slice::from_ref(&ours)), [], "another key id");

    let foreign = note::print_vkey("witness.example.com/w1", 0x04, ours.key());
    let foreign: WitnessKey = foreign.parse().expect("a witness of the C2SP network");
    let found = read_line(line(foreign.name(), foreign.id()), std::slice::from_ref(&foreign));
    assert_eq!(found.iter().map(Cosignature::witness).collect::<Vec<_>>(), [&foreign]);
    assert_eq!(read_line(line(foreign.name(), foreign.id()), &[ours.clone(), other]), [], "nobody lists it");

    let text = with_lines(&newest, &[line("witness.example.com/w2", foreign.id())]);
    let parsed = Note::parse(&text).expect("a note");
    let checked = Cosignature::verify(&foreign, newest.checkpoint(), &parsed.signatures()[1], NOW);
    assert_eq!(checked, Err(CosignatureError::OtherKey), "the name is another's");
    // What was said of another tree is not put into this one's note.
    assert_eq!(older.with_evidence(None, None, [&said]), older);
}

#[test]
fn times_have_bounds() {
    let head = head(1, &log(1, 20, u64::MAX), 20);
    let tolerated = (NOW.0 + CLOCK_TOLERANCE_MS) / 1_000;
    assert_eq!(read(&with_lines(&head, &[cosign(40, &head, tolerated).line()]), &[]).len(), 1);
    for seconds in [tolerated + 1, u64::MAX / 1_000] {
        assert_eq!(read(&with_lines(&head, &[cosign(40, &head, seconds).line()]), &[]), []);
    }
    let (witness, signature) = (WitnessKey::of(secret(40).public()), *cosign(40, &head, 1).signature());
    for seconds in [u64::MAX / 1_000 + 1, u64::MAX >> 1, u64::MAX] {
        let checked = Cosignature::check(witness.clone(), *head.checkpoint(), seconds, signature, NOW);
        assert!(matches!(checked, Err(CosignatureError::Future { .. })), "{checked:?}");
    }
}

/// The text form, of our witnesses and of others in the C2SP network.
#[test]
fn witness_keys_have_one_spelling() {
    let key = WitnessKey::of(secret(40).public());
    let text = key.to_string();
    assert!(text.starts_with("syncra/witness/"));
    assert_eq!(text.parse().as_ref(), Ok(&key));
    assert_eq!(WitnessKey::from_name(key.name()).as_ref(), Some(&key));
    let foreign = note::print_vkey("witness.example.com/w1", 0x04, &secret(41).public());
    assert_eq!(foreign.parse::<WitnessKey>().map(|key| key.to_string()).as_deref(), Ok(&*foreign));
    let log_key = note::Vkey::of(&origin(1)).to_string();
    assert_eq!(log_key.parse::<WitnessKey>(), Err(VkeyError::Type { expected: 4, found: 1 }));
    assert_eq!(text.parse::<note::Vkey>(), Err(VkeyError::Type { expected: 1, found: 4 }));
    // One of our names with another key than it says.
    let lie = note::print_vkey(key.name(), 0x04, &secret(41).public());
    assert_eq!(lie.parse::<WitnessKey>(), Err(VkeyError::Form));
    let long = note::print_vkey(&"x".repeat(97), 0x04, &secret(41).public());
    assert_eq!(long.parse::<WitnessKey>(), Err(VkeyError::Form));
}

/// Another library parses the note, knows the same key id, and verifies the bytes that C2SP says are signed.
#[test]
fn others_read_our_cosignatures() {
    let head = head(1, &log(1, 20, u64::MAX), 20);
    let cosigned = head.with_evidence(None, None, &[cosign(40, &head, 1_679_315_147)]);
    let theirs = signed_note::Note::from_bytes(cosigned.note()).expect("our note parses");
    let verifier = |seconds| TheirWitness { name: format!("syncra/witness/{}", secret(40).public()), seconds };
    for (seconds, n_verified) in [(1_679_315_147, Some(1)), (1_679_315_148, None)] {
        let known = signed_note::VerifierList::new(vec![Box::new(verifier(seconds))]);
        let verified = theirs.verify(&known).ok().map(|(verified, _)| verified.len());
        assert_eq!(verified, n_verified, "under the name and key id of the specification");
    }
}

/// What C2SP tlog-cosignature says, over another library's traits.
struct TheirWitness {
    name: String,
    seconds: u64,
}

impl signed_note::Verifier for TheirWitness {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        signed_note::key_id(&self.name, &[&[4], &secret(40).public().as_bytes()[..]].concat())
    }

    fn verify(&self, text: &[u8], timed: &[u8]) -> bool {
        let signed = [format!("cosignature/v1\ntime {}\n", self.seconds).as_bytes(), text].concat();
        let key = ed25519_dalek::VerifyingKey::from_bytes(secret(40).public().as_bytes()).expect("a key");
        let Some((time, signature)) = timed.split_first_chunk() else { return false };
        let signature = ed25519_dalek::Signature::from_slice(signature).expect("64 bytes");
        *time == self.seconds.to_be_bytes() && key.verify_strict(&signed, &signature).is_ok()
    }
}

/// The example of C2SP tlog-cosignature has the form, and is no log of this network.
#[test]
fn the_example_of_the_specification() {
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(example.as_bytes()).expect("the example of C2SP tlog-cosignature");
    let line = &note.signatures()[1];
    assert_eq!((line.name, line.signature.len()), ("witness.example.com/w1", 8 + 64));
    assert_eq!(line.signature[..8], 1_679_315_147_u64.to_be_bytes());
}

#[derive(Debug, Clone, Copy)]
enum Class {
    BitFlip,
    Truncated,
    Extended,
    SwapBytes,
    DropByte,
    /// The cosignature under another head: of another size, of the fork, of another log.
    Replay,
    /// Time, key id or signature from another true line.
    Splice,
    /// Another time before the same signature.
    Time,
    /// A key that the line does not name signs it.
    OtherKey,
    /// From the future, with a true signature.
    Future,
    /// Lines many times over, among strangers' lines.
    Duplicate,
}

const CLASSES: [Class; 11] = [
    Class::BitFlip,
    Class::Truncated,
    Class::Extended,
    Class::SwapBytes,
    Class::DropByte,
    Class::Replay,
    Class::Splice,
    Class::Time,
    Class::OtherKey,
    Class::Future,
    Class::Duplicate,
];

struct World {
    /// True heads of one log, of its fork and of another log.
    heads: Vec<Head>,
    /// Everything that any witness truly said.
    said: Vec<Cosignature>,
    listed: Vec<WitnessKey>,
}

impl World {
    fn new() -> Self {
        let (honest, forked, other) = (log(1, 60, u64::MAX), log(1, 60, 20), log(2, 60, 0));
        let sizes = [1, 19, 21, 59, 60];
        let of = |n, log: &Log| sizes.map(|size| head(n, log, size));
        let heads: Vec<_> = [of(1, &honest), of(1, &forked), of(2, &other)].into_iter().flatten().collect();
        let honest = &heads[..sizes.len()];
        let said = honest.iter().zip(0..).flat_map(|(head, n)| [40, 41].map(|w| cosign(w, head, 1_799_000_000 + n)));
        Self { said: said.collect(), listed: vec![WitnessKey::of(secret(40).public())], heads }
    }

    fn mutant(&self, class: Class, rng: &mut Rng) -> Vec<u8> {
        let said = &self.said[rng.index(self.said.len())];
        let head = self.heads.iter().find(|head| head.checkpoint() == said.checkpoint()).expect("it is of one of them");
        let mut note = with_lines(head, &[said.line()]);
        // The writer's own part is the mutants' of `mutants.rs`: here nine in ten hit the witness's line.
        let from = if rng.below(10) == 0 { 0 } else { head.note().len() };
        let at = from + rng.index(note.len() - from);
        let bytes = |line: &str| BASE64.decode(line.rsplit_once(' ').expect("a line").1.as_bytes()).expect("base64");
        let dress = |name: &str, bytes: &[u8]| format!("\u{2014} {name} {}", BASE64.encode(bytes));
        let own = bytes(&said.line());
        let name = said.witness().name();
        match class {
            Class::BitFlip => note[at] ^= 1 << rng.below(8),
            Class::Truncated => note.truncate(at),
            Class::Extended => {
                let len = rng.index(40) + 1;
                note.extend(rng.bytes(len));
            }
            Class::SwapBytes => {
                let other = from + rng.index(note.len() - from);
                note.swap(at, other);
            }
            Class::DropByte => drop(note.remove(at)),
            Class::Replay => {
                let others: Vec<_> = self.heads.iter().filter(|h| h.checkpoint() != said.checkpoint()).collect();
                note = with_lines(others[rng.index(others.len())], &[said.line()]);
            }
            Class::Splice => {
                let other = bytes(&self.said[rng.index(self.said.len())].line());
                let mut mixed = own.clone();
                let part = [0..4, 4..12, 12..44, 44..76, 4..76][rng.index(5)].clone();
                mixed[part.clone()].copy_from_slice(&other[part]);
                note = with_lines(head, &[dress(name, &mixed)]);
            }
            Class::Time => {
                let seconds = if rng.below(2) == 0 { rng.below(1_800_000_000) } else { rng.next() };
                let mixed = [&own[..4], &seconds.to_be_bytes(), &own[12..]].concat();
                note = with_lines(head, &[dress(name, &mixed)]);
            }
            Class::OtherKey => {
                let seed = rng.bytes(32).try_into().expect("32 bytes");
                let at = Timestamp(1_799_500_000_000);
                let forged = Cosignature::sign(&DeviceSecret::from_seed(&seed), *said.checkpoint(), at).line();
                let id = if rng.below(2) == 0 { own[..4].to_vec() } else { bytes(&forged)[..4].to_vec() };
                note = with_lines(head, &[dress(name, &[&id, &bytes(&forged)[4..]].concat())]);
            }
            Class::Future => {
                let seconds = (NOW.0 + CLOCK_TOLERANCE_MS) / 1_000 + 1 + rng.below(1 << 40);
                note = with_lines(head, &[cosign(40 + rng.below(2) as u8, head, seconds).line()]);
            }
            Class::Duplicate => {
                let n = rng.index(30) + 2;
                let lines: Vec<_> = (0..n)
                    .map(|_| match rng.below(3) {
                        0 => said.line(),
                        1 => self.said[rng.index(self.said.len())].line(),
                        _ => dress("w.example", &rng.bytes(76)),
                    })
                    .collect();
                note = with_lines(head, &lines);
            }
        }
        note
    }
}

#[test]
fn no_mutated_cosignature_is_believed() {
    const EACH: usize = 9_500;
    let (world, mut rng, n_read) = (World::new(), Rng::new(40), Cell::new(0));
    for class in CLASSES {
        let mut n_deceived = 0;
        for _ in 0..EACH {
            let note = world.mutant(class, &mut rng);
            let found = read(&note, &world.listed);
            n_deceived += usize::from(!found.iter().all(|found| world.said.contains(found)));
            // However often a witness's line stands there, it is one witness.
            assert!(found.len() <= 2, "{} witnesses of two", found.len());
            n_read.set(n_read.get() + usize::from(!found.is_empty()));
        }
        println!("{EACH:>7} {class:?}: {n_deceived} believed");
        assert_eq!(n_deceived, 0, "{class:?}");
    }
    println!("{} in all; in {} a true line was left", EACH * CLASSES.len(), n_read.get());
}
