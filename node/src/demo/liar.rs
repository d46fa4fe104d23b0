//! Peers that lie, with the real protocols: one tells old news as new, one changes a byte of what it sends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use syncra_protocol::id::PackageId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tokio_util::sync::CancellationToken;

use super::DemoError;
use super::host::{self, Host, HostError};
use crate::flow::Parts;
use crate::net::{Inbound, Inbounds, Multiaddr, Net};
use crate::serve::{self, Served};

/// Where in a long answer the wrong byte is: beyond what describes the content, inside of a file.
const WRONG_AT: u64 = 100_000;
/// How long a lying answer may take.
const IDLE: Duration = Duration::from_secs(20);

/// What is lied about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Offers the log as it was when it was learnt.
    OldLog,
    /// Changes one byte of every long blob answer.
    WrongByte,
}

/// A peer without a conscience: it answers, and learns nothing new.
pub(super) struct Liar {
    net: Net,
    parts: Arc<Parts>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    n_lies: Arc<AtomicU64>,
}

impl Liar {
    /// Learns a package honestly from `teacher`, then goes online again as a liar.
    pub(super) async fn learn(
        dir: &Path,
        name: &'static str,
        teacher: &Host,
        package: PackageId,
        lie: Lie,
    ) -> Result<Self, DemoError> {
        let pupil = Host::start(dir, name, None).await?;
        pupil.dial(teacher).await?;
        pupil.install(package).await?;
        pupil.stop().await;
        let (parts, config) = host::open(dir, name, None).await?;
        let (net, inbounds) = Net::start(config).await.map_err(HostError::from)?;
        let (stop, n_lies) = (CancellationToken::new(), Arc::default());
        let served = Arc::new(Served::new(&parts.histories));
        let mut tasks = JoinSet::new();
        let inbounds = match lie {
            Lie::OldLog => inbounds,
            Lie::WrongByte => {
                let (_, nothing) = mpsc::channel(1);
                let Inbounds { blobs, log, have, pair, propose, draft } = inbounds;
                let lying =
                    Lying { parts: Arc::clone(&parts), served: Arc::clone(&served), n_lies: Arc::clone(&n_lies) };
                tasks.spawn(lying.run(blobs, stop.clone()));
                Inbounds { blobs: nothing, log, have, pair, propose, draft }
            }
        };
        tasks.spawn(serve::serve(Arc::clone(&parts), served, inbounds, stop.clone()));
        Ok(Self { net, parts, stop, tasks, n_lies })
    }

    pub(super) fn address(&self) -> Multiaddr {
        host::address(&self.net)
    }

    /// Bytes that were changed.
    pub(super) fn n_lies(&self) -> u64 {
        self.n_lies.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Err(overrun) = self.net.shutdown().await {
            tracing::debug!(%overrun, "connections were left open");
        }
        self.parts.close().await;
    }
}

struct Lying {
    parts: Arc<Parts>,
    served: Arc<Served>,
    n_lies: Arc<AtomicU64>,
}

impl Lying {
    async fn run(self, mut inbound: mpsc::Receiver<Inbound>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                next = inbound.recv() => match next {
                    Some(inbound) => tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.answer(inbound) => {}
                    },
                    None => return,
                },
            }
        }
    }

    /// The honest answer, passed on with one byte changed. A liar may be slow: one stream after the other.
    async fn answer(&self, inbound: Inbound) {
        let Ok(blobs) = self.parts.blobs().await else { return };
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
            while let Ok(n @ 1..) = answered.read(&mut buffer).await {
                if let Some(wrong) = WRONG_AT.checked_sub(at).and_then(|wrong| usize::try_from(wrong).ok())
                    && let Some(byte) = buffer[..n].get_mut(wrong)
                {
                    *byte ^= 1;
                    self.n_lies.fetch_add(1, Ordering::Relaxed);
                }
                at += n as u64;
                if to_peer.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
            drop(to_peer.close().await);
        };
        futures::join!(honest, pass_request, pass_answer);
    }
}
