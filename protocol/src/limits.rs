//! Every bound of the protocol, with its unit and the attack or cost that it stops.

/// Characters of an id shown to people: 60 bits, enough to tell things apart, never enough to look them up by.
pub const SHORT_ID_CHARS: usize = 12;

/// Bytes of one log entry, hard: entry lengths are 16-bit in C2SP tiles.
pub const ENTRY_BYTES: usize = 65_535;
/// Bytes of one log entry that we ourselves write, soft: keeps a log of 10,000 entries within a fetch of some MiB.
pub const OWN_ENTRY_BYTES: usize = 4_096;
/// Heads that one entry's `seen` may name; more stand in a preceding Seen entry.
pub const SEEN_PER_ENTRY: usize = 32;
/// Logs of packages whose cuts one entry names: some 37 KB; what one entry has no room for another one names.
pub const DEVICE_CUTS: usize = 512;
/// Devices that one statement of a recovery key revokes.
pub const REVOKED_DEVICES: usize = 8;
/// Suspensions that one statement of a recovery key lifts.
pub const LIFTED_SUSPENSIONS: usize = 64;
/// Roles that one entry changes: as many as a package has owners; more takes several.
pub const ROLE_CHANGES: usize = 16;
/// Identities that have a role in one package: more is a team, which is an identity of its own. Together with their devices'
/// logs they must fit [`EVIDENCE_LOGS`]; who comes last may find no room.
pub const ROLE_HOLDERS: usize = 64;
/// Refs that one entry protects, and refs of one package that are protected.
pub const PROTECTED_REFS: usize = 64;
/// Logs whose cuts one change of roles names: some 5 KB.
pub const ROLE_CUTS: usize = 64;
/// Blobs that one entry redacts: some 2 KB. Twenty releases with their manifests and notes.
pub const REDACTED_BLOBS: usize = 64;
/// Changes of roles that one log proposes and anybody looks at: what nobody needs more of, and bounds the work.
pub const ROLES_PER_LOG: usize = 256;
/// Changes of roles in one package that take effect, one after the other: one a week for twenty years. Each is kept with the
/// rights that it makes, some 8 KB at worst, and is looked for in the past of every log.
pub const ROLE_CHAIN: usize = 1_024;
/// Redactions of one log that are heeded: one a week for twenty years, each of [`REDACTED_BLOBS`]; for each it is looked for which
/// later changes of roles knew of it.
pub const REDACTS_PER_LOG: usize = 1_024;
/// Words of one log about which history of a forked log goes on that are heeded: one for each log that a package has room for.
pub const RESOLVES_PER_LOG: usize = 256;
/// Open changes that are shown of one identity: its latest ones, so that nobody fills others' lists.
pub const PENDING_PER_IDENTITY: usize = 16;
/// Entries of one log that a node follows: bounds memory of the leaf hashes (32 B each).
pub const LOG_ENTRIES: u64 = 1 << 20;
/// Bytes of one signed note, cosignatures included: stops endless signature lines.
pub const NOTE_BYTES: usize = 4_096;
/// Bytes of a note that is gossiped: the longest origin twice, size, root and one signature need half of it; cosignatures
/// do not travel that way.
pub const NOTICE_BYTES: usize = 1_024;
/// Logs about whose notices a node remembers when it last passed one on: one note each, so 4 MiB at worst. Beyond that
/// notices of further logs are left to those who watch them.
pub const NOTICED_LOGS: usize = 4_096;
/// Peers, and keys that sign logs, that have a token bucket each; only those that used theirs lately count.
pub const NOTICE_BUCKETS: usize = 4_096;
/// Peers whose deeds are remembered, bans among them; those treated best go first.
pub const SCORED_PEERS: usize = 4_096;
/// Logs of which peers offer less than there is that are remembered, and newest heads with who offered them: some 200 bytes
/// each; who has answered least often goes first.
pub const OMISSIONS: usize = 4_096;
/// Signature lines of one note: C2SP asks for at least 16; each costs a base64 decoding.
pub const NOTE_SIGNATURES: usize = 32;
/// Bytes of a witness's name: 16 lines with such names and the log's own fit into one note.
pub const WITNESS_NAME_BYTES: usize = 96;
/// Witnesses that a reader lists: what one note has lines for, beside the log's own and a fork proof's.
pub const WITNESSES: usize = 16;
/// Witnesses beyond the reader's list whose newest cosignature of one log is kept, to be passed on to those who list them.
pub const OTHER_WITNESSES: usize = 8;
/// Moments kept of one witness and one log: since when it has seen so many entries. What is dropped only looks younger.
pub const WITNESS_MOMENTS: usize = 16;
/// How far a witness's clock may be ahead of ours, in milliseconds (THREATS: "time ≤ now+10 min").
pub const CLOCK_TOLERANCE_MS: u64 = 10 * 60 * 1_000;
/// Bytes of one fork proof: two notes of the longest origin without cosignatures and 21 hashes; fits one datagram.
pub const FORK_PROOF_BYTES: usize = 1_500;
/// Bytes of one fork point: two leaves and two paths of 20 hashes. A note has room for it beside the longest fork proof, unless
/// both histories have more than a quarter of [`LOG_ENTRIES`].
pub const FORK_POINT_BYTES: usize = 1_400;
/// Hashes in one inclusion or consistency proof: log2 of the largest log, with room for both sides.
pub const PROOF_HASHES: usize = 128;

/// Bytes of one part of a path: what every file system of the field accepts.
pub const PATH_PART_BYTES: usize = 255;
/// Bytes of a whole path inside a package: below Windows' and Linux' limits with room for the store's own prefix.
pub const PATH_BYTES: usize = 1_024;
/// Parts of a path, so depth of a tree: stops recursion bombs.
pub const PATH_DEPTH: usize = 32;
/// Files in one release: stops inode floods.
pub const RELEASE_FILES: u64 = 1_000_000;
/// Bytes of all files of one release.
pub const RELEASE_BYTES: u64 = 1 << 40;
/// Bytes of one directory node: some 10,000 names in a directory.
pub const NODE_BYTES: usize = 4 << 20;
/// Nodes of one release.
pub const RELEASE_NODES: usize = 100_000;
/// Bytes of one segment: what is held in memory when one is spliced.
pub const SEGMENT_BYTES: usize = 16 << 20;
/// Bytes of one chunk list.
pub const CHUNK_LIST_BYTES: usize = 1 << 20;
/// Bytes of a release's HashSeq: 2 Mi hashes.
pub const HASH_SEQ_BYTES: usize = 64 << 20;
/// Bytes of a manifest, `syncra.toml` or its canonical form.
pub const MANIFEST_BYTES: usize = 64 << 10;
/// Bytes of a note, reason or readme blob, its 16 random bytes included.
pub const PROSE_BYTES: usize = 64 << 10;
/// Dependencies of one release.
pub const DEPENDENCIES: usize = 256;

/// Bytes of one frame on a `/syncra/log/1` or `/syncra/have/1` stream.
pub const FRAME_BYTES: usize = 1 << 20;
/// Bytes of one draft: ids, numbers and the longest name need half of it.
pub const DRAFT_BYTES: usize = 512;
/// Entries in one answer frame.
pub const ENTRIES_PER_FRAME: usize = 1_024;
/// Logs that may speak for one package: its own logs and those of its identities.
pub const EVIDENCE_LOGS: usize = 256;
/// Of those, logs of people who own the package now: nobody else takes these places, however many devices it has.
pub const OWNERS_LOGS: usize = 128;
/// Of one owner, logs for which there is room whatever the other owners bring: 16 owners fit [`OWNERS_LOGS`] exactly.
pub const OWNER_LOGS_SURE: usize = 8;
/// Logs of one owner, about itself and of the package: 32 devices that write both.
pub const OWNER_LOGS: usize = 64;
/// Logs of one identity that has, or had, another role: eight of them are needed to take all places that are not owners'.
pub const HOLDER_LOGS: usize = 16;
/// Logs of one identity that is to have a role and must agree.
pub const INVITED_LOGS: usize = 8;
/// Logs beyond its own places that let an identity in whose recovery key says something new: what others sent first must
/// not keep it out.
pub const RECOVERY_LOGS: usize = 4;
/// Heads in one answer.
pub const HEADS_PER_FRAME: usize = EVIDENCE_LOGS;
/// Packages watched over one stream.
pub const WATCHED_PACKAGES: usize = 1_024;
/// Packages of its own identity that a device keeps up with though it has written to none of them: whoever has a sibling's
/// key cannot fill a watch, which has places for what is followed and installed too.
pub const IDENTITY_PACKAGES: usize = 512;
/// Bytes of entries of all packages that are held only because a sibling told of them: a thief of its key does not fill the
/// disk. Beyond them each such package has its own [`IDENTITY_PACKAGE_BYTES`].
pub const IDENTITY_BYTES: u64 = 512 << 20;
/// Bytes of entries of one such package for which there is room whatever the others bring: more than a thousand releases.
pub const IDENTITY_PACKAGE_BYTES: u64 = IDENTITY_BYTES / IDENTITY_PACKAGES as u64;
/// Packages known of strangers, beyond which no more are taken in from what peers offer: one card in the index has at most
/// 4 KiB, so all together 64 MiB.
pub const CATALOGUE_PACKAGES: usize = 16_384;
/// Packages of one unpinned writer that are taken in from what peers offer: one key cannot fill the catalogue.
pub const CATALOGUE_PACKAGES_PER_WRITER: usize = 32;
/// Offers in one answer to a catalogue request.
pub const OFFERS_PER_FRAME: usize = 256;

/// Bytes of a package name: a directory name and a URL segment with room to spare.
pub const PACKAGE_NAME_BYTES: usize = 64;
/// Bytes of a handle, DNS names included.
pub const HANDLE_BYTES: usize = 64;
/// Bytes of a branch, tag or channel name.
pub const REF_NAME_BYTES: usize = 64;
/// Bytes of a version's text.
pub const VERSION_BYTES: usize = 64;
/// Bytes of a version requirement's text: four comparators with pre-releases, bounds the work of matching.
pub const VERSION_REQ_BYTES: usize = 128;
/// Bytes of a reference: handle, key, name and the longest requirement fit more than once.
pub const REFERENCE_BYTES: usize = 512;
/// Bytes of a link: Windows hands a program no longer ones (2,083 characters), and a QR code has room for 2,953.
pub const LINK_BYTES: usize = 2_048;
/// Addresses in a link, all of which are dialled: what a link that lies may cost others.
pub const LINK_ADDRESSES: usize = 8;
/// Bytes of one of them.
pub const LINK_ADDRESS_BYTES: usize = 256;
/// Characters of a code for pairing with its separators: twice what it needs.
pub const PAIR_CODE_CHARS: usize = 32;
/// Parameters of a link, those that are ignored included.
pub const LINK_PARAMETERS: usize = 32;
/// Bytes of a manifest's description: a line in a list of results.
pub const DESCRIPTION_BYTES: usize = 512;
/// Bytes of a licence expression (SPDX).
pub const LICENSE_BYTES: usize = 128;
/// Keywords of a package: more would be a way to turn up in every search.
pub const KEYWORDS: usize = 16;
/// Bytes of a keyword.
pub const KEYWORD_BYTES: usize = 32;
/// Components that a package may ask to read, and to write.
pub const PERMITTED_COMPONENTS: usize = 256;
/// Bytes of a component's name.
pub const COMPONENT_BYTES: usize = 64;
/// Files that a package starts.
pub const START_FILES: usize = 64;
/// Patterns in `include`, and in `exclude`: each is tried on every path.
pub const FILE_PATTERNS: usize = 256;
/// Bytes of one pattern.
pub const PATTERN_BYTES: usize = 256;
/// Steps of a package's CI.
pub const CI_STEPS: usize = 64;
/// Bytes of a CI step's command.
pub const CI_COMMAND_BYTES: usize = 1_024;

/// Fine chunks in one segment: keeps its chunk list below [`CHUNK_LIST_BYTES`].
pub const SEGMENT_CHUNKS: usize = 32_768;
/// Bytes of all directory nodes of one release: what a receiver holds in memory before it knows anything else.
pub const RELEASE_NODE_BYTES: usize = 256 << 20;
/// Parts of all files of one release: every file once and every segment of large ones, with room; 16 bytes each.
pub const RELEASE_PARTS: usize = 2 << 20;

/// Bytes of one record of a proposal or review: what a stranger may have us keep at a time.
pub const PROPOSAL_RECORD_BYTES: usize = 4_096;
/// Bytes of a proposal's title: a line of a list.
pub const PROPOSAL_TITLE_BYTES: usize = 120;
/// Bytes of a review's text; longer ones belong into the files.
pub const PROPOSAL_TEXT_BYTES: usize = 3_072;
/// Reviews that one identity writes about one proposal.
pub const REVIEWS_PER_IDENTITY: usize = 16;
/// Records about one package that a node keeps: half a megabyte at most, and one frame.
pub const PROPOSAL_RECORDS: usize = 128;
/// Of those, by identities whose logs are not known here: anybody can make up a thousand of them.
pub const STRANGERS_RECORDS: usize = 64;
/// Of those, by one identity: nobody fills the list alone.
pub const RECORDS_PER_IDENTITY: usize = 32;
/// Records in one offer: what a peer makes us verify at a time.
pub const OFFERED_RECORDS: usize = 32;
/// Packages about which a node keeps records: 64 MiB at worst.
pub const PROPOSED_PACKAGES: usize = 128;
