//! How errors about people and their devices become problems: who is meant, who may what.

use super::{Code, Problem};
use crate::flow::adopt::AdoptError;
use crate::flow::devices::{BRING_A_PACKAGE, DevicesError, LIFT};
use crate::flow::pair::PairError;
use crate::flow::regard::RegardError;
use crate::flow::roles::RolesError;

impl From<DevicesError> for Problem {
    fn from(error: DevicesError) -> Self {
        match error {
            DevicesError::Load(error) => error.into(),
            DevicesError::Own(error) => error.into(),
            DevicesError::Commit(error) => error.into(),
            DevicesError::Identity(error) => error.into(),
            DevicesError::Unknown(_) => Self::from_error(Code::NotFound, &error).with_hint(BRING_A_PACKAGE),
            DevicesError::NoDevice(_) => {
                Self::from_error(Code::NotFound, &error).with_hint("`syncra devices` lists them; a label, or four characters of a key, may be enough")
            }
            DevicesError::Ambiguous { .. } => Self::from_error(Code::Ambiguous, &error),
            DevicesError::NotManager => Self::from_error(Code::PermissionDenied, &error)
                .with_hint("do it on a device that may: `syncra devices` lists their roles"),
            DevicesError::Silenced(_) => Self::from_error(Code::DeviceSilenced, &error).with_hint(format!(
                "`syncra status` says why. If this device was restored from a backup, or has just joined, connect it to another \
                 device of yours first (`syncra up`, `syncra connect ADDRESS`), or `syncra import` a package of yours from there. \
                 If it was suspended: {LIFT}",
            )),
            DevicesError::Suspended(_) => {
                Self::from_error(Code::Conflict, &error).with_hint(format!("only the recovery key ends that: {LIFT}"))
            }
            DevicesError::CutByRecovery(_) => Self::from_error(Code::Conflict, &error)
                .with_hint("`syncra id recover --revoke DEVICE --before PKG@VERSION` cuts it back further"),
            DevicesError::NotTheirs(_) => Self::from_error(Code::BadArgument, &error)
                .with_hint("`syncra log PKG` shows which device wrote what; name a release of that device"),
            DevicesError::NoPackage(_) => Self::from_error(Code::NotFound, &error)
                .with_hint("bring it here first, for example by `syncra info syncra:PACKAGE`"),
            DevicesError::Revoked(_) => Self::from_error(Code::Conflict, &error)
                .with_hint("give that device a new home, so that it has another key, and pair it again"),
            DevicesError::HasJoined { .. } => Self::from_error(Code::Conflict, &error)
                .with_hint("give it a new home, by `--home`, to make it somebody else's"),
            DevicesError::HasPackages { .. } => Self::from_error(Code::Conflict, &error)
                .with_hint("pair a fresh home: packages stay with the identity that began them"),
            DevicesError::Evidence(_) | DevicesError::OtherIdentity(_) => {
                Self::from_error(Code::HistoryInvalid, &error)
            }
            DevicesError::WrongKey => Self::from_error(Code::PermissionDenied, &error)
                .with_hint("after `syncra id rotate` only the newest one counts"),
            DevicesError::TooLong => Self::from_error(Code::RequestTooLarge, &error)
                .with_hint("add it by the recovery key instead: `syncra id recover` on the new device"),
            DevicesError::Unheeded => Self::from_error(Code::Conflict, &error)
                .with_hint("`syncra devices` shows what counts; run `syncra id recover` on another device"),
            DevicesError::Nothing => Self::from_error(Code::Usage, &error)
                .with_hint("`syncra devices` shows which are suspended or could be revoked"),
            DevicesError::NobodySuspended => Self::from_error(Code::Usage, &error).with_hint(
                "`syncra devices` shows what is known here of each; who was suspended elsewhere is known once this device is \
                 connected to another one of yours",
            ),
        }
    }
}

impl From<AdoptError> for Problem {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Home(error) => error.into(),
            AdoptError::Journal(error) => error.into(),
            AdoptError::Own(error) => error.into(),
            AdoptError::Load(error) => error.into(),
            AdoptError::Commit(error) => error.into(),
            AdoptError::Unheard { .. } | AdoptError::Nobody => Self::from_error(Code::Unheard, &error),
        }
    }
}

impl From<PairError> for Problem {
    fn from(error: PairError) -> Self {
        match error {
            PairError::Devices(error) => error.into(),
            PairError::Ended => Self::from_error(Code::NotFound, &error).with_hint("make a new code by `syncra pair`"),
            PairError::Nobody => {
                Self::from_error(Code::Timeout, &error).with_hint("make a new code by `syncra pair`")
            }
            PairError::TooMany => Self::from_error(Code::Conflict, &error).with_hint("wait until one has lapsed"),
            PairError::NotFound { .. } => Self::from_error(Code::Unreachable, &error).with_hint(
                "is `syncra pair` still open on the other device? If it is not on this network, say where it is: `--at MULTIADDR`",
            ),
            PairError::WrongCode => {
                Self::from_error(Code::VerificationFailed, &error).with_hint("make a new code and type it again")
            }
            PairError::Declined => Self::from_error(Code::PolicyRefused, &error),
            PairError::Frame(error) => Self::from_error(Code::Unreachable, &error),
            PairError::Open(error) => Self::from_error(Code::Unreachable, &error),
            PairError::Handed(_) => Self::from_error(Code::HistoryInvalid, &error),
        }
    }
}

impl From<RegardError> for Problem {
    fn from(error: RegardError) -> Self {
        let code = match error {
            RegardError::Load(error) => return error.into(),
            RegardError::Installed(error) => return error.into(),
            RegardError::Journal(error) => return error.into(),
            RegardError::Resolve(error) => return error.into(),
            RegardError::Reference(error) => return error.into(),
            RegardError::Unknown(_) => {
                let problem = Self::from_error(Code::NotFound, &error);
                return problem.with_hint("say it as `@handle~key`, as a whole identity, or by a package of theirs");
            }
            RegardError::Ambiguous { .. } => {
                return Self::from_error(Code::Ambiguous, &error).with_hint("name one exactly, as listed");
            }
            RegardError::Own => Code::BadArgument,
            RegardError::Taken { .. } => Code::Conflict,
        };
        Self::from_error(code, &error)
    }
}

impl From<RolesError> for Problem {
    fn from(error: RolesError) -> Self {
        match error {
            RolesError::Own(error) => error.into(),
            RolesError::Load(error) => error.into(),
            RolesError::Devices(error) => error.into(),
            RolesError::Entry(_) => Self::from_error(Code::Failed, &error),
            RolesError::NotAnOwner { ref reference, offer: Some(offer) } => {
                let hint = format!("you are asked to own it: `syncra endorse {reference} {offer}` agrees");
                Self::from_error(Code::NotAnOwner, &error).with_hint(hint)
            }
            RolesError::NotAnOwner { .. } | RolesError::NotAsked => Self::from_error(Code::NotAnOwner, &error),
            RolesError::Twice(_) => Self::from_error(Code::BadArgument, &error)
                .with_hint("who owns a package hands it to somebody else; `syncra role PKG` shows who does"),
            RolesError::NewerRules { .. } => Self::from_error(Code::NewerRules, &error),
            RolesError::NoOwner(_) => Self::from_error(Code::Conflict, &error)
                .with_hint("name another owner in the same change, by `syncra transfer`"),
            RolesError::Threshold { .. } | RolesError::Full(_) => Self::from_error(Code::BadArgument, &error),
            RolesError::NoChange { .. } => Self::from_error(Code::NotFound, &error)
                .with_hint("`syncra role PKG` lists those that wait; the first four characters of an id may be enough"),
            RolesError::Lapsed { ref reference, .. } => {
                let hint = format!(
                    "an owner has to propose it again, by `syncra role {reference} …`; `syncra log {reference}` shows both"
                );
                Self::from_error(Code::Conflict, &error).with_hint(hint)
            }
            RolesError::NotTheirs(_) => Self::from_error(Code::BadArgument, &error).with_hint(
                "`syncra log PKG` shows who published what; what you published yourself goes by `syncra yank` or `syncra redact`",
            ),
            RolesError::NoRoleToLose { ref version, ref reference, who } => {
                let hint = format!(
                    "give a role and take it away again: `syncra role {reference} {who} contributor`, then `syncra role {reference} {who} none --before {reference}@{version}`"
                );
                Self::from_error(Code::Conflict, &error).with_hint(hint)
            }
            RolesError::Ambiguous { .. } => {
                Self::from_error(Code::Ambiguous, &error).with_hint("write more of the change's id")
            }
        }
    }
}
