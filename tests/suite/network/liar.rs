//! A node of this process without a conscience: it learnt a package honestly, with the real program, and now answers from
//! what it has, with the real protocols and its own key. It asks nobody, so it learns nothing newer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use syncra_node::flow::Parts;
use syncra_node::home;
use syncra_node::net::{self, Inbound, Inbounds, Net, NetConfig};
use syncra_node::serve::{self, Served};
use syncra_tests::Home;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

/// What is lied about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing is changed: what it has is old.
    OldLog,
    /// One bit of every blob answer that is long enough changes at this byte of it. Then come as many bytes as complete
    /// what the byte belongs to, whatever that is, and not one more: who waits for more to notice waits in vain.
    WrongByteAt(u64),
}

/// Bytes after the wrong one: with it the whole of the largest thing that is verified at once.
const AFTER_WRONG: u64 = (16 << 10) - 1;
/// How long an answer may take that nobody takes in.
const IDLE: Duration = Duration::from_secs(60);

/// The lying node; it ends when dropped.
pub(crate) struct Liar {
    runtime: Option<Runtime>,
    running: Option<Running>,
    address: String,
    n_lies: Arc<AtomicU64>,
    /// Removed last.
    _home: Home,
}

struct Running {
    net: Net,
    parts: Arc<Parts>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Liar {
    /// Goes online with what is in `home`, whose node must not run.
    pub(crate) fn online(home: Home, lie: Lie) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let n_lies = Arc::<AtomicU64>::default();
        let running = runtime.block_on(Running::start(&home, lie, Arc::clone(&n_lies)));
        let listening = running.net.listen_addrs().remove(0);
        let address = net::with_peer(listening, &running.net.key()).expect("a device key").to_string();
        Self { runtime: Some(runtime), running: Some(running), address, n_lies, _home: home }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its device key, as verbs write peers.
    pub(crate) fn key(&self) -> String {
        self.running.as_ref().expect("it runs until it is dropped").net.key().to_string()
    }

    /// Bits that were changed.
    pub(crate) fn n_lies(&self) -> u64 {
        self.n_lies.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        if let (Some(runtime), Some(running)) = (self.runtime.take(), self.running.take()) {
            runtime.block_on(running.stop());
        }
    }
}

impl Running {
    async fn start(home: &Home, lie: Lie, n_lies: Arc<AtomicU64>) -> Self {
        let home = home::Home::open(home.path()).expect("its node has ended");
        let mut config = NetConfig::new(home.device_secret().expect("a key").seed());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a valid address")];
        config.lan = None;
        let parts = Arc::new(Box::pin(Parts::open(home)).await.expect("it opens"));
        let (net, inbounds) = Net::start(config).await.expect("it listens");
        let (stop, served) = (CancellationToken::new(), Arc::new(Served::new(&parts.histories)));
        let mut tasks = JoinSet::new();
        let inbounds = match lie {
            Lie::OldLog => inbounds,
            Lie::WrongByteAt(wrong_at) => {
                let Inbounds { blobs, log, have, pair, propose, draft } = inbounds;
                let (parts, served) = (Arc::clone(&parts), Arc::clone(&served));
                tasks.spawn(Lying { parts, served, wrong_at, n_lies }.run(blobs, stop.clone()));
                Inbounds { blobs: mpsc::channel(1).1, log, have, pair, propose, draft }
            }
        };
        tasks.spawn(serve::serve(Arc::clone(&parts), served, inbounds, stop.clone()));
        Self { net, parts, stop, tasks }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        // Connections that do not end in time end with the runtime.
        let _ = self.net.shutdown().await;
        self.parts.close().await;
    }
}

#[derive(Clone)]
struct Lying {
    parts: Arc<Parts>,
    served: Arc<Served>,
    wrong_at: u64,
    n_lies: Arc<AtomicU64>,
}

impl Lying {
    async fn run(self, mut inbound: mpsc::Receiver<Inbound>, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        while let Some(Some(inbound)) = stop.run_until_cancelled(inbound.recv()).await {
            let lying = self.clone();
            answers.spawn(async move { lying.answer(inbound).await });
        }
    }

    /// The honest answer, passed on with one bit changed.
    async fn answer(&self, inbound: Inbound) {
        let blobs = self.parts.blobs().await.expect("the store opens");
        let (near, far) = tokio::io::duplex(1 << 16);
        let served = Arc::clone(&self.served);
        let honest = blobs.serve(far.compat(), IDLE, move |root| served.access(root, |_| false));
        let (mut answered, mut asked) = near.compat().split();
        let (mut from_peer, mut to_peer) = inbound.stream.split();
        let pass_request = async {
            // Ends when the peer has closed its side; what goes wrong after that is nobody's loss.
            drop(futures::io::copy(&mut from_peer, &mut asked).await);
            drop(asked.close().await);
        };
        let pass_answer = async {
            let (mut at, mut buffer) = (0_u64, vec![0; 1 << 14]);
            while let Ok(n_bytes @ 1..) = answered.read(&mut buffer).await {
                let mut piece = &mut buffer[..n_bytes];
                if let Some(byte) =
                    self.wrong_at.checked_sub(at).and_then(|at| piece.get_mut(usize::try_from(at).ok()?))
                {
                    *byte ^= 1;
                    self.n_lies.fetch_add(1, Ordering::Relaxed);
                }
                let left = usize::try_from((self.wrong_at + 1 + AFTER_WRONG).saturating_sub(at)).unwrap_or(usize::MAX);
                piece = &mut piece[..n_bytes.min(left)];
                if to_peer.write_all(piece).await.is_err() || to_peer.flush().await.is_err() {
                    return;
                }
                if piece.len() < n_bytes {
                    // Until the node ends.
                    return std::future::pending().await;
                }
                at += n_bytes as u64;
            }
            drop(to_peer.close().await);
        };
        drop(futures::join!(honest, pass_request, pass_answer));
    }
}
