//! Messages: canonical, bounded, and one door each.

use syncra_protocol::bounded::Blob;
use syncra_protocol::codec;
use syncra_protocol::entry::DeviceRole;
use syncra_protocol::id::{ContentRoot, IdentityId, LogHash, PackageId, TreeId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::limits::{ENTRIES_PER_FRAME, FRAME_BYTES, OFFERED_RECORDS, PROOF_HASHES, WATCHED_PACKAGES};
use syncra_protocol::message::{MessageError, Refusal, draft, frame, have, log, pair, propose};
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;

use crate::decoders::try_decoder;

fn package(n: u8) -> PackageId {
    PackageId::from_bytes([n; 32])
}

fn origin(n: u8) -> Origin {
    Origin::package(package(n), DeviceKey::from_bytes([n; 32]))
}

fn requests() -> Vec<log::Request> {
    let mut requests = Vec::new();
    for n in 0..5 {
        requests.push(log::Request::Heads { package: package(n) });
        requests.push(log::Request::Entries { origin: origin(n), from: u64::from(n) << (12 * n), limit: 1 << n });
        requests.push(log::Request::Watch { packages: (0..n).map(package).collect() });
        requests.push(log::Request::Offers { after: (n > 0).then(|| package(n)) });
    }
    requests
}

fn answers() -> Vec<log::Answer> {
    let hashes = |n: u8| (0..n).map(|n| LogHash::from_bytes([n; 32])).collect::<Vec<_>>();
    let mut answers = Vec::new();
    for n in 0..4_u8 {
        let blob = |len: u8| Blob(vec![n; usize::from(len)]);
        answers.push(log::Answer::Heads(log::Heads {
            package_genesis: blob(9),
            identity_geneses: (0..n).map(|len| Blob(vec![7; usize::from(len)])).collect(),
            notes: (0..n).map(|len| Blob(vec![8; usize::from(len)])).collect(),
        }));
        answers.push(log::Answer::Entries(log::Entries {
            note: Blob(vec![n; 200]),
            prefix: hashes(n),
            reached: hashes(3 - n),
            entries: (0..n).map(|len| Blob(vec![9; usize::from(len) * 90])).collect(),
        }));
        answers.push(log::Answer::Watching { n_packages: u32::from(n) << 9 });
        answers.push(log::Answer::Notice { package: package(n), note: Blob(vec![1; 130]) });
        let offers = (0..n).map(|n| log::Offer { package: package(n), frontier: [n; 32] }).collect();
        answers.push(log::Answer::Offers(log::Offers { offers, more: n > 1 }));
    }
    let refusals = [
        Refusal::NotFound,
        Refusal::Busy { retry_after_ms: 90_000 },
        Refusal::TooLarge,
        Refusal::Unsupported,
        Refusal::Forbidden,
    ];
    answers.extend(refusals.map(log::Answer::Refused));
    answers
}

fn have_requests() -> Vec<have::Request> {
    (0..20).map(|n| have::Request { root: ContentRoot::from_bytes([n; 32]), follow: n % 2 == 0 }).collect()
}

fn have_answers() -> Vec<have::Answer> {
    let mut answers = vec![have::Answer::All, have::Answer::Refused(Refusal::NotFound)];
    for n in 1..=9_u32 {
        answers.push(have::Answer::of((0..n * 7).filter(|part| part % n != 0), n * 7));
        answers.push(have::Answer::Gained { parts: (0..n).map(|part| part * part * 90).collect() });
    }
    answers
}

#[test]
fn damaged_messages_are_refused_or_themselves() {
    let seeds: Vec<_> = requests().iter().map(log::encode_request).collect();
    let tried =
        try_decoder("log request", &seeds, |bytes| Some(log::encode_request(&log::decode_request(bytes).ok()?)));
    assert!(tried.n_accepted < tried.n_tried);
    let seeds: Vec<_> = answers().iter().map(log::encode_answer).collect();
    let tried = try_decoder("log answer", &seeds, |bytes| Some(log::encode_answer(&log::decode_answer(bytes).ok()?)));
    assert!(tried.n_accepted < tried.n_tried);
    let seeds: Vec<_> = have_requests().iter().map(have::encode_request).collect();
    let tried =
        try_decoder("have request", &seeds, |bytes| Some(have::encode_request(&have::decode_request(bytes).ok()?)));
    assert!(tried.n_accepted < tried.n_tried);
    let seeds: Vec<_> = have_answers().iter().map(have::encode_answer).collect();
    let tried =
        try_decoder("have answer", &seeds, |bytes| Some(have::encode_answer(&have::decode_answer(bytes).ok()?)));
    assert!(tried.n_accepted < tried.n_tried);
    damaged_pairing_messages();
    damaged_draft_messages();
    damaged_messages_about_proposals();
}

fn damaged_messages_about_proposals() {
    let records = |n: u8| vec![Blob(vec![n; usize::from(n)]); usize::from(n % 5)];
    let list = (0..20).map(|n| propose::Request::List { package: package(n) });
    let seeds = list.chain((0..20).map(|n| propose::Request::Offer { records: records(n) }));
    let seeds: Vec<_> = seeds.map(|request| codec::encode(&request)).collect();
    let tried = try_decoder("propose request", &seeds, |b| propose::decode_request(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let taken = [propose::Answer::Taken { n_kept: 300 }, propose::Answer::Refused(Refusal::NotFound)];
    let seeds = taken.into_iter().chain((0..20).map(|n| propose::Answer::Records { records: records(n) }));
    let seeds: Vec<_> = seeds.map(|answer| codec::encode(&answer)).collect();
    let tried = try_decoder("propose answer", &seeds, |b| propose::decode_answer(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let offered = |n: usize| {
        propose::decode_request(&codec::encode(&propose::Request::Offer { records: vec![Blob(vec![1]); n] }))
    };
    assert!(offered(OFFERED_RECORDS).is_ok() && offered(OFFERED_RECORDS + 1).is_err());
}

fn damaged_draft_messages() {
    let drafts: Vec<_> = (0..20_u8)
        .map(|n| draft::Draft {
            package: PackageId::from_bytes([n; 32]),
            name: RefName::parse(&format!("work/{n}")).unwrap(),
            rev: 1 << n,
            tree_id: TreeId::from_bytes([n; 32]),
            content_root: ContentRoot::from_bytes([n; 32]),
            total_bytes: u64::from(n),
            n_files: 1,
        })
        .collect();
    let seeds: Vec<_> = drafts.iter().map(codec::encode).collect();
    let tried = try_decoder("draft", &seeds, |b| draft::decode_draft(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let request =
        |draft: &draft::Draft| draft::Request { package: draft.package, name: draft.name.clone(), after: draft.rev };
    let seeds: Vec<_> = drafts.iter().map(|draft| codec::encode(&request(draft))).collect();
    let tried = try_decoder("draft request", &seeds, |b| draft::decode_request(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let secret = DeviceSecret::from_seed(&[1; 32]);
    let answers = drafts.iter().map(|draft| draft::Answer::Draft(draft::SignedDraft::sign(draft, &secret)));
    let answers = answers.chain([draft::Answer::Unchanged, draft::Answer::Refused(Refusal::NotFound)]);
    let seeds: Vec<_> = answers.map(|answer| codec::encode(&answer)).collect();
    let tried = try_decoder("draft answer", &seeds, |b| draft::decode_answer(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
}

fn damaged_pairing_messages() {
    let element = |n: u8| Blob(vec![n; pair::ELEMENT_BYTES]);
    let seeds: Vec<_> =
        (0..20_u8).map(|n| codec::encode(&pair::Hello { number: 1 << n, element: element(n) })).collect();
    let tried = try_decoder("pair hello", &seeds, |b| pair::decode_hello(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let refused = [Refusal::NotFound, Refusal::Busy { retry_after_ms: 7 }].map(pair::Reply::Refused);
    let seeds = refused.into_iter().chain((0..20).map(|n| pair::Reply::Element(element(n))));
    let seeds: Vec<_> = seeds.map(|reply| codec::encode(&reply)).collect();
    let tried = try_decoder("pair reply", &seeds, |b| pair::decode_reply(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let label = |text: &str| RefName::parse(text).unwrap();
    let seeds: Vec<_> = (0..20_u8)
        .map(|n| codec::encode(&pair::Confirm { proof: [n; 32], label: label(&format!("laptop/{n}")) }))
        .collect();
    let tried = try_decoder("pair confirm", &seeds, |b| pair::decode_confirm(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
    let log = |n: u8| pair::WholeLog { note: Blob(vec![n; 200]), entries: vec![Blob(vec![n; 90]); usize::from(n)] };
    let welcome = |n: u8| {
        pair::Verdict::Welcome(pair::Welcome {
            proof: [n; 32],
            identity: IdentityId::from_bytes([n; 32]),
            role: DeviceRole::Publisher,
            logs: (0..n).map(log).collect(),
        })
    };
    let seeds = [pair::Verdict::WrongCode, pair::Verdict::Declined].into_iter().chain((0..18).map(|n| welcome(n % 4)));
    let seeds: Vec<_> = seeds.map(|verdict| codec::encode(&verdict)).collect();
    let tried = try_decoder("pair verdict", &seeds, |b| pair::decode_verdict(b).ok().map(|m| codec::encode(&m)));
    assert!(tried.n_accepted < tried.n_tried);
}

#[test]
fn counts_are_bounded() {
    let watch = |n: usize| {
        let id = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            PackageId::from_bytes(bytes)
        };
        log::decode_request(&log::encode_request(&log::Request::Watch { packages: (0..n).map(id).collect() }))
    };
    assert!(watch(WATCHED_PACKAGES).is_ok());
    assert!(matches!(watch(WATCHED_PACKAGES + 1), Err(MessageError::Bytes(_))));

    let entries = |n_entries: usize, n_hashes: usize, entry_bytes: usize| {
        let answer = log::Answer::Entries(log::Entries {
            note: Blob(Vec::new()),
            prefix: vec![LogHash::from_bytes([0; 32]); n_hashes],
            reached: Vec::new(),
            entries: vec![Blob(vec![0; entry_bytes]); n_entries],
        });
        log::decode_answer(&log::encode_answer(&answer))
    };
    assert!(entries(ENTRIES_PER_FRAME, PROOF_HASHES, 1).is_ok());
    assert!(entries(ENTRIES_PER_FRAME + 1, 0, 1).is_err());
    assert!(entries(1, PROOF_HASHES + 1, 1).is_err());
    assert!(entries(1, 0, 65_535).is_ok());
    assert!(entries(1, 0, 65_536).is_err());
    assert!(entries(17, 0, 65_535).is_err(), "more than a frame");
}

#[test]
fn rules_beyond_bytes_are_checked() {
    let request = |request| log::decode_request(&log::encode_request(&request));
    let rule = |error| matches!(error, MessageError::Rule(_));
    assert!(request(log::Request::Watch { packages: vec![package(2), package(1)] }).is_err_and(rule));
    assert!(request(log::Request::Watch { packages: vec![package(2), package(2)] }).is_err_and(rule));
    assert!(request(log::Request::Entries { origin: origin(1), from: 0, limit: 0 }).is_err_and(rule));
    let offers = |offers: &[u8], more| {
        let offers = offers.iter().map(|n| log::Offer { package: package(*n), frontier: [0; 32] }).collect();
        log::decode_answer(&log::encode_answer(&log::Answer::Offers(log::Offers { offers, more })))
    };
    assert!(offers(&[1, 2], true).is_ok());
    assert!(offers(&[2, 1], false).is_err_and(rule));
    assert!(offers(&[], true).is_err_and(rule), "would be asked for ever");
    let have = |answer| have::decode_answer(&have::encode_answer(&answer));
    assert!(have(have::Answer::Some { bitmap: vec![1, 0] }).is_err_and(rule));
    assert!(have(have::Answer::Gained { parts: vec![] }).is_err_and(rule));
    assert!(have(have::Answer::Gained { parts: vec![5, 4] }).is_err_and(rule));
    assert!(have(have::Answer::Gained { parts: vec![u32::MAX] }).is_err_and(rule));
}

#[test]
fn frames_are_neither_empty_nor_endless() {
    for len in [1, 2, 255, 256, FRAME_BYTES] {
        assert_eq!(frame::length(frame::prefix(len).unwrap()), Ok(len));
    }
    for len in [0, FRAME_BYTES + 1, u32::MAX as usize, usize::MAX] {
        assert_eq!(frame::prefix(len), Err(frame::FrameError { len }));
    }
    assert!(frame::length([0; 4]).is_err());
    assert!(frame::length([0xff; 4]).is_err());
}

#[test]
fn a_have_answer_says_exactly_what_is_held() {
    for n_parts in 0..40_u32 {
        for step in 1..5_u32 {
            let held: Vec<_> = (0..n_parts).filter(|part| part % step == 0).collect();
            let answer = have::Answer::of(held.iter().copied().chain([n_parts, n_parts + 9]), n_parts);
            assert_eq!(answer.parts(n_parts).collect::<Vec<_>>(), held);
            assert_eq!(answer == have::Answer::All, held.len() == n_parts as usize);
        }
    }
}
