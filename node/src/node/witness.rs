//! The task of a node that witnesses, or may begin to: cosigns every head that this node comes to hold.

use std::sync::Arc;

use syncra_protocol::origin::{Origin, Subject};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::flow::Parts;
use crate::history::LoadError;

/// Cosigns until `stop`, whenever the settings say so.
pub(super) async fn keep_witnessing(parts: Arc<Parts>, stop: CancellationToken) {
    let (mut changes, mut begins) = (parts.histories.changes(), parts.witnesses.witnessing());
    // What came while nobody witnessed.
    all(&parts).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = begins.changed() => all(&parts).await,
            change = changes.recv() => match change {
                Ok(change) => told(one(&parts, change.head.origin()).await),
                Err(RecvError::Lagged(_)) => all(&parts).await,
                Err(RecvError::Closed) => return,
            },
        }
    }
}

async fn all(parts: &Parts) {
    if !parts.witnesses.is_witness() {
        return;
    }
    let origins: Vec<Origin> = {
        let truth = parts.histories.journal().truth();
        truth.heads().map(|head| head.origin).collect()
    };
    for origin in origins {
        told(one(parts, &origin).await);
    }
}

/// Cosigns one log, if it is held whole.
async fn one(parts: &Parts, origin: &Origin) -> Result<(), LoadError> {
    if !parts.witnesses.is_witness() {
        return Ok(());
    }
    if matches!(origin.subject, Subject::Package(package) if parts.histories.package(package)?.is_none()) {
        return Ok(());
    }
    if let Some((log, head)) = parts.histories.log(origin)?
        && let Err(error) = parts.witnesses.witness(&log, &head).await
    {
        tracing::warn!(%origin, %error, "not cosigned");
    }
    Ok(())
}

fn told(done: Result<(), LoadError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "a log that was to be cosigned cannot be read");
    }
}
