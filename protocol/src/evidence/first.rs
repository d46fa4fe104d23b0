//! Which entries may begin a log, and which may follow.

use super::Evidence;
use super::held::Item;
use crate::entry::Body;
use crate::id::{IdentityId, PackageId};
use crate::origin::{Origin, Subject};

/// Why a log may not begin as it does. The log is not accepted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FirstEntryError {
    /// The creator's log begins with something else than the package's Genesis, or another log with it.
    #[error("the log does not begin with this package's Genesis entry")]
    PackageGenesis,
    /// The log of a further writer begins with something else than a Join of this package.
    #[error("the log does not begin with a Join of this package")]
    PackageJoin,
    /// The log of an identity begins with something else than its Genesis, signed by the key that it names, or a Join.
    #[error("the log does not begin with this identity's Genesis or Join entry")]
    Identity,
}

/// Checks entry 0 of the log of `origin`.
pub(super) fn check(evidence: &Evidence, origin: &Origin, first: &Item) -> Result<(), FirstEntryError> {
    match origin.subject {
        Subject::Package(package) if origin.key == evidence.genesis.log_key => {
            let is_genesis =
                PackageId::from(first.id) == package && matches!(first.body, Some(Body::PackageGenesis(_)));
            is_genesis.then_some(()).ok_or(FirstEntryError::PackageGenesis)
        }
        Subject::Package(package) => match &first.body {
            Some(Body::PackageJoin(join)) if join.package == package => Ok(()),
            _ => Err(FirstEntryError::PackageJoin),
        },
        Subject::Identity(identity) => check_identity(identity, origin, first),
    }
}

/// Checks entry 0 of the log of `origin`, of which the subject is `identity`.
pub(super) fn check_identity(identity: IdentityId, origin: &Origin, first: &Item) -> Result<(), FirstEntryError> {
    match &first.body {
        Some(Body::IdentityGenesis(genesis))
            if IdentityId::from(first.id) == identity && genesis.log_key == origin.key =>
        {
            Ok(())
        }
        Some(Body::IdentityJoin(join)) if join.identity == identity => Ok(()),
        _ => Err(FirstEntryError::Identity),
    }
}

/// Whether a kind may stand at `index` of a log of this subject.
pub(super) fn may_stand(origin: &Origin, index: u64, body: &Body) -> bool {
    let is_first = index == 0;
    match (origin.subject, body) {
        (_, Body::Seen) => !is_first,
        (Subject::Package(_), Body::PackageGenesis(_) | Body::PackageJoin(_)) => is_first,
        (Subject::Package(_), Body::Roles(_) | Body::Endorse(_) | Body::ForkResolve(_)) => !is_first,
        (Subject::Package(_), Body::Release(_) | Body::Ref(_) | Body::Yank(_) | Body::Redact(_)) => !is_first,
        (Subject::Identity(_), Body::IdentityGenesis(_) | Body::IdentityJoin(_)) => is_first,
        (Subject::Identity(_), Body::AddDevice(_) | Body::Suspend(_) | Body::Name(_) | Body::Handle(_)) => !is_first,
        (Subject::Identity(identity), Body::Recover(recover)) => !is_first && recover.statement.identity == identity,
        _ => false,
    }
}
