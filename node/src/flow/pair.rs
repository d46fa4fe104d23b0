//! Pairing: a code goes from one screen to the other, and a device becomes one of an identity's.
//!
//! One device [offers](Offers::begin) under a code, for some minutes; a peer that knows the code [asks](join), and a
//! person decides. What is proven: both sides know the code (SPAKE2, RFC 9382), and each is the device that the
//! connection says it is, because both device keys go into the exchange. Three wrong guesses end an offer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{AsyncWriteExt as _, StreamExt as _};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use syncra_protocol::bounded::Blob;
use syncra_protocol::entry::{AddDevice, DeviceRole};
use syncra_protocol::id::{IdentityId, base32};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::{ENTRIES_PER_FRAME, FRAME_BYTES};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::message::Refusal;
use syncra_protocol::message::pair::{
    Confirm, Element, Hello, Reply, Verdict, Welcome, WholeLog, decode_confirm, decode_hello, decode_reply,
    decode_verdict,
};
use syncra_protocol::name::RefName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Parts;
use super::devices::{self, DevicesError, LogCopy};
use crate::clock;
use crate::net::frame::{FrameError, read_frame, write_frame};
use crate::net::{Net, OpenError, Protocol, Stream};

/// How long a code is good for.
pub const OFFER_LASTS: Duration = Duration::from_secs(600);
/// Wrong guesses that end an offer.
const GUESSES: u8 = 3;
/// Offers at a time: one is the rule, several are somebody who forgot.
const OFFERS: usize = 8;
/// How long one step of the exchange may take that no person has to do with.
const STEP: Duration = Duration::from_secs(20);
/// Characters of a code's secret: 40 bits, of which three guesses are nothing.
const SECRET_CHARS: usize = 8;
/// Peers that are asked for a code at the same time.
const PEERS_AT_ONCE: usize = 64;
/// Domain of the proofs.
const DOMAIN: &str = "syncra/pair/v1";

/// What somebody carries from one screen to the other: a number by which the device is found, and a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    number: u32,
    secret: String,
}

/// The text is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code looks like `4821-k3v7-x2m4`")]
pub struct CodeError;

impl Code {
    fn random() -> Self {
        let number = 1_000 + u32::from(u16::from_le_bytes(clock::random())) % 9_000;
        let mut secret = base32(&clock::random::<5>());
        secret.truncate(SECRET_CHARS);
        Self { number, secret }
    }

    /// The code that somebody typed: case, spaces and hyphens are theirs.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '-').take(64);
        let text: String = kept.map(|c| c.to_ascii_lowercase()).collect();
        let (number, secret) = text.split_at_checked(4).ok_or(CodeError)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CodeError);
        }
        let is_base32 = |c: char| matches!(c, 'a'..='z' | '2'..='7');
        if secret.len() != SECRET_CHARS || !secret.chars().all(is_base32) {
            return Err(CodeError);
        }
        Ok(Self { number: number.parse().map_err(|_| CodeError)?, secret: secret.to_owned() })
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (first, second) = self.secret.split_at(SECRET_CHARS / 2);
        write!(f, "{}-{first}-{second}", self.number)
    }
}

impl core::fmt::Debug for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Code({}-…)", self.number)
    }
}

/// Why no device joined.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Entries.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// No such offer, or it has ended.
    #[error("this code is not waited for any more")]
    Ended,
    /// Nobody came while it was good.
    #[error("nobody used the code in time")]
    Nobody,
    /// Too many offers.
    #[error("{OFFERS} codes are waited for already")]
    TooMany,
    /// Nobody in reach waits under this code.
    #[error("none of {n_peers} connected peers waits under this code")]
    NotFound {
        /// Who was asked.
        n_peers: usize,
    },
    /// The secret part is wrong, on this side or the other.
    #[error("the code is wrong, or somebody else answered to it")]
    WrongCode,
    /// A person said no.
    #[error("the other side declined")]
    Declined,
    /// The stream.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The logs handed over are none.
    #[error("what the other side handed over does not verify")]
    Handed(#[source] syncra_protocol::log::note::NoteError),
}

/// Somebody who knows the code and waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device, proven by its connection.
    pub device: DeviceKey,
    /// What it would like to be called.
    pub label: RefName,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What the device may do; none: no.
    pub role: Option<DeviceRole>,
    /// What it shall be called instead.
    pub label: Option<RefName>,
}

struct Offer {
    secret: Zeroizing<String>,
    ends: Instant,
    /// Wrong guesses that are left.
    n_guesses: u8,
    /// Exchanges under way, each a guess until it is known to be right.
    n_open: u8,
    asks: mpsc::Sender<Asked>,
    waiting: Arc<tokio::sync::Mutex<Waiting>>,
}

impl core::fmt::Debug for Offer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Offer").field("n_guesses", &self.n_guesses).finish_non_exhaustive()
    }
}

/// A candidate, where the decision goes, and where the outcome comes from.
#[derive(Debug)]
struct Asked {
    candidate: Candidate,
    decide: oneshot::Sender<(Decision, oneshot::Sender<Result<(), DevicesError>>)>,
}

/// The codes that this node waits for.
#[derive(Debug, Default)]
pub struct Offers(Mutex<BTreeMap<u32, Offer>>);

/// Who comes under one code.
#[derive(Debug)]
struct Waiting {
    asks: mpsc::Receiver<Asked>,
    asked: Option<Asked>,
}

impl Offers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Offer>> {
        let mut offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|_, offer| offer.ends > Instant::now() && (offer.n_guesses > 0 || offer.n_open > 0));
        offers
    }

    /// Waits under a new code.
    ///
    /// # Errors
    /// [`PairError::TooMany`].
    pub fn begin(&self) -> Result<Code, PairError> {
        let mut offers = self.lock();
        if offers.len() >= OFFERS {
            return Err(PairError::TooMany);
        }
        let mut code = Code::random();
        while offers.contains_key(&code.number) {
            code = Code::random();
        }
        let (asks, asked) = mpsc::channel(1);
        let waiting = Arc::new(tokio::sync::Mutex::new(Waiting { asks: asked, asked: None }));
        let (secret, ends) = (Zeroizing::new(code.secret.clone()), Instant::now() + OFFER_LASTS);
        offers.insert(code.number, Offer { secret, ends, n_guesses: GUESSES, n_open: 0, asks, waiting });
        Ok(code)
    }

    /// Waits for nobody under this code any more.
    pub fn end(&self, code: &Code) {
        self.lock().remove(&code.number);
    }

    /// Somebody who knows the code.
    ///
    /// # Errors
    /// [`PairError::Ended`] when the code has lapsed or was guessed wrongly too often, [`PairError::Nobody`] when nobody
    /// came within `patience`.
    pub async fn candidate(&self, code: &Code, patience: Duration) -> Result<Candidate, PairError> {
        let waiting = self.waiting(code)?;
        let mut waiting = waiting.lock().await;
        let asked = tokio::time::timeout(patience, waiting.asks.recv()).await.map_err(|_| PairError::Nobody)?;
        let asked = asked.ok_or(PairError::Ended)?;
        let candidate = asked.candidate.clone();
        waiting.asked = Some(asked);
        Ok(candidate)
    }

    /// Decides about `device`, the candidate that was shown last, and waits until it is done.
    ///
    /// # Errors
    /// [`PairError::Ended`] when it went away meanwhile, or is not the one that was shown.
    pub async fn decide(&self, code: &Code, device: DeviceKey, decision: Decision) -> Result<(), PairError> {
        let waiting = self.waiting(code)?;
        let asked = waiting.lock().await.asked.take_if(|asked| asked.candidate.device == device);
        let asked = asked.ok_or(PairError::Ended)?;
        let (done, outcome) = oneshot::channel();
        asked.decide.send((decision, done)).map_err(|_| PairError::Ended)?;
        Ok(outcome.await.map_err(|_| PairError::Ended)??)
    }

    fn waiting(&self, code: &Code) -> Result<Arc<tokio::sync::Mutex<Waiting>>, PairError> {
        let offers = self.lock();
        let offer = offers.get(&code.number).filter(|offer| *offer.secret == code.secret);
        offer.map(|offer| Arc::clone(&offer.waiting)).ok_or(PairError::Ended)
    }

    /// The secret for one exchange, which costs a guess before anything is said; none if there is none left.
    fn take_guess(&self, number: u32) -> Option<Zeroizing<String>> {
        let mut offers = self.lock();
        let offer = offers.get_mut(&number).filter(|offer| offer.n_guesses > 0)?;
        offer.n_guesses -= 1;
        offer.n_open += 1;
        Some(offer.secret.clone())
    }

    /// The exchange ended: right, and costs nothing, or not.
    fn end_guess(&self, number: u32, is_right: bool) {
        if let Some(offer) = self.lock().get_mut(&number) {
            offer.n_open = offer.n_open.saturating_sub(1);
            offer.n_guesses += u8::from(is_right);
        }
    }

    fn asks(&self, number: u32) -> Option<mpsc::Sender<Asked>> {
        self.lock().get(&number).map(|offer| offer.asks.clone())
    }
}

/// One side of the exchange.
struct Exchange {
    spake: Spake2<Ed25519Group>,
    element: Vec<u8>,
    host: DeviceKey,
    joiner: DeviceKey,
}

impl Exchange {
    fn begin(secret: &str, host: DeviceKey, joiner: DeviceKey, is_host: bool) -> Self {
        let password = Password::new(secret.as_bytes());
        let (one, other) = (Identity::new(host.as_bytes()), Identity::new(joiner.as_bytes()));
        let (spake, element) = if is_host {
            Spake2::<Ed25519Group>::start_a(&password, &one, &other)
        } else {
            Spake2::<Ed25519Group>::start_b(&password, &one, &other)
        };
        Self { spake, element, host, joiner }
    }

    fn element(&self) -> Element {
        Blob(self.element.clone())
    }

    /// The proofs of host and joiner, once the other side's message is here.
    fn finish(self, theirs: &Element) -> Result<Proofs, PairError> {
        let key = self.spake.finish(&theirs.0).map_err(|_| PairError::WrongCode)?;
        let key = blake3::derive_key(DOMAIN, &key);
        let proof = |side: &[u8]| {
            let said = [side, self.host.as_bytes(), self.joiner.as_bytes()].concat();
            *blake3::keyed_hash(&key, &said).as_bytes()
        };
        Ok(Proofs { host: proof(b"host"), joiner: proof(b"joiner") })
    }
}

struct Proofs {
    host: [u8; 32],
    joiner: [u8; 32],
}

/// In constant time, so that nobody learns a proof byte by byte.
fn is_same(ours: &[u8; 32], theirs: &[u8; 32]) -> bool {
    blake3::Hash::from(*ours) == blake3::Hash::from(*theirs)
}

/// Answers a device that wants to join: the exchange, the decision of a person, the admission.
///
/// # Errors
/// [`PairError`]; the joiner was told as far as it can be.
pub async fn answer(parts: &Parts, stream: &mut Stream, joiner: DeviceKey) -> Result<(), PairError> {
    let Some(hello) = read_frame(stream, STEP, decode_hello).await? else { return Ok(()) };
    let Some(secret) = parts.pairing.take_guess(hello.number) else {
        write_frame(stream, &Reply::Refused(Refusal::NotFound), STEP).await?;
        return Ok(stream.close().await.map_err(FrameError::from)?);
    };
    let proven = prove(parts, stream, joiner, &secret, &hello).await;
    parts.pairing.end_guess(hello.number, proven.is_ok());
    let (proof, label) = proven?;
    let asks = parts.pairing.asks(hello.number).ok_or(PairError::Ended)?;
    let verdict = admit(parts, &asks, joiner, label, proof).await?;
    write_frame(stream, &verdict, STEP).await?;
    Ok(stream.close().await.map_err(FrameError::from)?)
}

/// The exchange: our proof, and what the joiner, who knows the secret, would like to be called.
async fn prove(
    parts: &Parts,
    stream: &mut Stream,
    joiner: DeviceKey,
    secret: &str,
    hello: &Hello,
) -> Result<([u8; 32], RefName), PairError> {
    let exchange = Exchange::begin(secret, parts.device, joiner, true);
    write_frame(stream, &Reply::Element(exchange.element()), STEP).await?;
    let proofs = exchange.finish(&hello.element);
    let Some(confirm) = read_frame(stream, STEP, decode_confirm).await? else { return Err(PairError::Ended) };
    match proofs {
        Ok(proofs) if is_same(&proofs.joiner, &confirm.proof) => Ok((proofs.host, confirm.label)),
        _ => {
            write_frame(stream, &Verdict::WrongCode, STEP).await?;
            Err(PairError::WrongCode)
        }
    }
}

/// Asks the person, and does what was decided.
async fn admit(
    parts: &Parts,
    asks: &mpsc::Sender<Asked>,
    device: DeviceKey,
    label: RefName,
    proof: [u8; 32],
) -> Result<Verdict, PairError> {
    let (decide, decision) = oneshot::channel();
    let asked = Asked { candidate: Candidate { device, label: label.clone() }, decide };
    asks.send(asked).await.map_err(|_| PairError::Ended)?;
    let Ok(Ok((decision, done))) = tokio::time::timeout(OFFER_LASTS, decision).await else {
        return Ok(Verdict::Declined);
    };
    let Some(role) = decision.role else {
        let _ = done.send(Ok(()));
        return Ok(Verdict::Declined);
    };
    let label = decision.label.unwrap_or(label);
    // What the joiner could not take in is found out before it is added.
    let logs = match check_room(&devices::logs(parts)?) {
        Ok(()) => {
            let added = devices::add(parts, AddDevice { device, role, label }, false).await;
            added.and_then(|_| devices::logs(parts))
        }
        Err(error) => Err(error),
    };
    match logs {
        Ok(logs) => {
            let whole = |copy: LogCopy| WholeLog {
                note: Blob(copy.head.note().to_vec()),
                entries: copy.entries.into_iter().map(Blob).collect(),
            };
            let logs = logs.into_iter().map(whole).collect();
            let _ = done.send(Ok(()));
            Ok(Verdict::Welcome(Welcome { proof, identity: parts.identity(), role, logs }))
        }
        Err(error) => {
            let _ = done.send(Err(error));
            Ok(Verdict::Declined)
        }
    }
}

/// Whether the logs, with room for the entry that is to come, fit one message.
fn check_room(logs: &[LogCopy]) -> Result<(), DevicesError> {
    let n_bytes: usize = logs.iter().flat_map(|log| &log.entries).map(|entry| entry.len() + 8).sum();
    let fits = n_bytes + (64 << 10) <= FRAME_BYTES && logs.iter().all(|log| log.entries.len() < ENTRIES_PER_FRAME);
    fits.then_some(()).ok_or(DevicesError::TooLong)
}

/// What became of a device that asked to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Whose device it is now.
    pub identity: IdentityId,
    /// What it may do.
    pub role: DeviceRole,
    /// The device that let it in.
    pub by: DeviceKey,
}

/// Makes this device one of the identity's whose device waits under `code`, looked for among `peers`.
///
/// # Errors
/// [`PairError`].
pub async fn join(
    parts: &Arc<Parts>,
    net: &Net,
    peers: &[DeviceKey],
    code: &Code,
    label: &RefName,
) -> Result<Joined, PairError> {
    devices::ensure_free(parts)?;
    // All at once: one that answers nothing must not keep the right one from being asked.
    let mut asked = FuturesUnordered::new();
    for peer in peers.iter().copied().take(PEERS_AT_ONCE) {
        asked.push(async move { (peer, join_at(parts, net, peer, code, label).await) });
    }
    let mut failed = None;
    while let Some((peer, answer)) = asked.next().await {
        match answer {
            Ok(Some(joined)) => return Ok(joined),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(peer = peer.fmt_short(), %error, "no pairing with it");
                let is_word = |error: &PairError| !matches!(error, PairError::Open(_) | PairError::Frame(_));
                if failed.is_none() || is_word(&error) {
                    failed = Some(error);
                }
            }
        }
    }
    match failed {
        Some(error @ (PairError::Open(_) | PairError::Frame(_))) if peers.len() == 1 => Err(error),
        Some(PairError::Open(_) | PairError::Frame(_)) | None => Err(PairError::NotFound { n_peers: peers.len() }),
        Some(error) => Err(error),
    }
}

/// The same with one peer; none if it does not wait under this number.
async fn join_at(
    parts: &Arc<Parts>,
    net: &Net,
    peer: DeviceKey,
    code: &Code,
    label: &RefName,
) -> Result<Option<Joined>, PairError> {
    let mut stream = net.open(peer, Protocol::Pair).await?;
    let exchange = Exchange::begin(&code.secret, peer, parts.device, false);
    write_frame(&mut stream, &Hello { number: code.number, element: exchange.element() }, STEP).await?;
    let theirs = match read_frame(&mut stream, STEP, decode_reply).await? {
        Some(Reply::Element(element)) => element,
        Some(Reply::Refused(_)) | None => return Ok(None),
    };
    let proofs = exchange.finish(&theirs)?;
    write_frame(&mut stream, &Confirm { proof: proofs.joiner, label: label.clone() }, STEP).await?;
    // Until a person has decided.
    let verdict = read_frame(&mut stream, OFFER_LASTS + STEP, decode_verdict).await?;
    let welcome = match verdict {
        Some(Verdict::Welcome(welcome)) => welcome,
        Some(Verdict::WrongCode) => return Err(PairError::WrongCode),
        Some(Verdict::Declined) => return Err(PairError::Declined),
        None => return Err(PairError::Ended),
    };
    if !is_same(&proofs.host, &welcome.proof) {
        return Err(PairError::WrongCode);
    }
    let copy = |log: WholeLog| {
        let head = Head::verify(&log.note.0).map_err(PairError::Handed)?;
        Ok(LogCopy { head, entries: log.entries.into_iter().map(|entry| entry.0).collect() })
    };
    let logs: Vec<LogCopy> = welcome.logs.into_iter().map(copy).collect::<Result<_, PairError>>()?;
    devices::join(parts, welcome.identity, &logs, false).await?;
    drop(stream.close().await);
    Ok(Some(Joined { identity: welcome.identity, role: welcome.role, by: peer }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_are_codes() {
        let code = Code::parse("4821-k3v7-x2m4").expect("a code");
        assert_eq!(code.to_string(), "4821-k3v7-x2m4");
        for spelling in ["4821k3v7x2m4", " 4821 K3V7 X2M4 ", "4821-K3V7X2M4"] {
            assert_eq!(Code::parse(spelling), Ok(code.clone()), "{spelling}");
        }
        for n in 0..200 {
            let code = Code::random();
            assert_eq!(Code::parse(&code.to_string()), Ok(code), "{n}");
        }
        let text = code.to_string();
        let cuts = (0..text.len()).map(|n| text[..n].to_owned());
        let others = ["", "4821", "abcd-k3v7-x2m4", "4821-k3v1-x2m4", "4821-k3v7-x2m4-7", "４821-k3v7-x2m4"];
        for broken in cuts.chain(others.map(str::to_owned)) {
            assert_eq!(Code::parse(&broken), Err(CodeError), "{broken}");
        }
        assert!(!format!("{code:?}").contains("k3v7"), "a secret is not shown");
    }

    /// Who types an example from the help or the guide is not told that it is none.
    #[test]
    fn every_example_of_a_code_is_one() {
        let error = CodeError.to_string();
        for text in [error.as_str(), include_str!("../cli/pair.rs"), include_str!("../../../docs/guide/care.md")] {
            let is_like = |word: &&str| word.len() == 14 && word.as_bytes()[4] == b'-' && word.as_bytes()[9] == b'-';
            let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c == '`').filter(is_like).collect();
            assert!(!words.is_empty(), "an example stands in each");
            for word in words {
                assert!(Code::parse(word).is_ok(), "{word}");
            }
        }
    }

    /// Both come to one key only if they know the secret, and are who they are taken for.
    #[test]
    fn the_exchange_binds_the_secret_and_both_devices() {
        let key = |n| DeviceKey::from_bytes([n; 32]);
        let meet = |host: (&str, u8, u8), joiner: (&str, u8, u8)| {
            let host = Exchange::begin(host.0, key(host.1), key(host.2), true);
            let joiner = Exchange::begin(joiner.0, key(joiner.1), key(joiner.2), false);
            let (to_host, to_joiner) = (joiner.element(), host.element());
            let (host, joiner) = (host.finish(&to_host).expect("a point"), joiner.finish(&to_joiner).expect("a point"));
            is_same(&host.joiner, &joiner.joiner) && is_same(&host.host, &joiner.host)
        };
        assert!(meet(("k3v7x2m4", 1, 2), ("k3v7x2m4", 1, 2)));
        assert!(!meet(("k3v7x2m4", 1, 2), ("k3v7x2m5", 1, 2)), "another secret");
        assert!(!meet(("k3v7x2m4", 1, 3), ("k3v7x2m4", 1, 2)), "somebody between them");
        assert!(!meet(("k3v7x2m4", 1, 2), ("k3v7x2m4", 3, 2)), "somebody between them");
        let one = Exchange::begin("k3v7x2m4", key(1), key(2), true).finish(&Blob(vec![0; 7]));
        assert!(matches!(one, Err(PairError::WrongCode)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_ends_by_time_and_by_three_wrong_guesses() {
        let offers = Offers::default();
        let code = offers.begin().expect("room");
        tokio::time::advance(OFFER_LASTS + Duration::from_secs(1)).await;
        assert!(offers.take_guess(code.number).is_none());
        let code = offers.begin().expect("room");
        for _ in 0..5 {
            assert!(offers.take_guess(code.number).is_some());
            offers.end_guess(code.number, true);
        }
        // At the same time or one after the other, and one that is right meanwhile goes on.
        for _ in 0..GUESSES {
            assert!(offers.take_guess(code.number).is_some());
        }
        assert!(offers.take_guess(code.number).is_none());
        assert!(offers.asks(code.number).is_some());
        for _ in 0..GUESSES {
            offers.end_guess(code.number, false);
        }
        assert!(offers.asks(code.number).is_none());
        assert!(matches!(offers.candidate(&code, STEP).await, Err(PairError::Ended)));
        let all: Vec<_> = (0..OFFERS).map(|_| offers.begin().expect("room")).collect();
        assert!(matches!(offers.begin(), Err(PairError::TooMany)));
        offers.end(&all[0]);
        assert!(offers.begin().is_ok());
    }
}
