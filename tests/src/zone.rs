//! A name server of a test's own: it answers for TXT records, over UDP on loopback, and counts what it is asked.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Bytes of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// TXT and IN, as they stand at the end of a question.
const TXT_IN: [u8; 4] = [0, 16, 0, 1];

/// A running name server; ends when dropped.
#[derive(Debug)]
pub struct Zone {
    address: std::net::SocketAddr,
    n_asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Zone {
    /// Serves these records: the name, without a dot at its end, and the text of each.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn serve(records: &[(&str, Vec<String>)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let records: BTreeMap<String, Vec<String>> =
            records.iter().map(|(name, texts)| ((*name).to_owned(), texts.clone())).collect();
        let n_asked = Arc::<AtomicUsize>::default();
        let asked = Arc::clone(&n_asked);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                // An empty message: the end.
                if len == 0 {
                    return;
                }
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..len], &records) {
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        Self { address, n_asked, thread: Some(thread) }
    }

    /// Where it listens, as the program takes it.
    #[must_use]
    pub fn server(&self) -> String {
        self.address.to_string()
    }

    /// How often it was asked.
    #[must_use]
    pub fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            drop(socket.send_to(&[], self.address));
            drop(self.thread.take().map(JoinHandle::join));
        }
    }
}

/// The answer to a question for the texts of a name; none to anything else.
fn answer(query: &[u8], records: &BTreeMap<String, Vec<String>>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8(query.get(at..at + len)?.to_vec()).ok()?);
        at += len;
    }
    let question = query.get(HEADER..at + TXT_IN.len())?;
    if !question.ends_with(&TXT_IN) {
        return None;
    }
    let texts = records.get(&labels.join(".")).map_or(&[][..], Vec::as_slice);
    // An answer, recursion desired and available; no such name when there is nothing.
    let flags = if texts.is_empty() { [0x81, 0x83] } else { [0x81, 0x80] };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend(flags);
    for count in [1, texts.len(), 0, 0] {
        answer.extend(u16::try_from(count).ok()?.to_be_bytes());
    }
    answer.extend(question);
    for text in texts {
        // Its name is that of the question; a minute to live.
        answer.extend([0xc0, 0x0c]);
        answer.extend(TXT_IN);
        answer.extend(60_u32.to_be_bytes());
        let strings: Vec<u8> =
            text.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect();
        answer.extend(u16::try_from(strings.len()).ok()?.to_be_bytes());
        answer.extend(strings);
    }
    Some(answer)
}
