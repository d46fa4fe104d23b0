//! Who this device is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::fold::DeviceStatus;
use syncra_protocol::name::Handle;
use syncra_protocol::reference::OwnerKey;
use utoipa::ToSchema;

use super::devices;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::identity::{self, IdentityError};
use crate::flow::{Parts, adopt};
use crate::problem::Problem;
use crate::progress::Progress;

/// Tells who this device is.
#[derive(Debug)]
pub struct ShowIdentity;

/// Who this device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityResponse {
    /// The identity.
    pub identity: String,
    /// This device's key.
    pub device: String,
    /// Whether this device speaks for it: `active`, `suspended`, `revoked`, or `not_admitted` as far as is known here.
    #[serde(default)]
    pub status: String,
    /// If it does not: what that means, and the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
    /// What the identity calls itself.
    pub handle: Option<String>,
    /// What references to its packages begin with.
    pub ref_prefix: String,
    /// `unsaved` as long as the recovery secret lies on this device, `saved` once it was deleted here by the user's word;
    /// `missing` if it is gone without that, `damaged` if its file is; `elsewhere` on a device that never had it, or if
    /// another one has replaced it.
    pub recovery: String,
    /// Of a damaged one: which file, and what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_damage: Option<String>,
}

impl Verb for ShowIdentity {
    const NAME: &'static str = "identity_show";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/identity";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Who this device is.";
    type Request = Empty;
    type Response = IdentityResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<IdentityResponse, Problem> {
        show(service.parts())
    }
}

/// Claims a handle.
#[derive(Debug)]
pub struct SetHandle;

/// Which handle.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetHandleRequest {
    /// The handle.
    pub handle: String,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

impl Verb for SetHandle {
    const NAME: &'static str = "identity_handle";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/identity/handle";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Claims a handle for this device's identity; others may claim the same.";
    type Request = SetHandleRequest;
    type Response = IdentityResponse;

    async fn run(service: &Arc<Service>, request: SetHandleRequest, _: &Progress) -> Result<IdentityResponse, Problem> {
        let handle = Handle::parse(&request.handle).map_err(|error| {
            let problem = Problem::from(error);
            match Handle::nearest(&request.handle) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            }
        })?;
        if request.dry_run {
            let mut would = show(service.parts())?;
            would.ref_prefix = format!("@{handle}~{}/", OwnerKey::of(&service.parts().identity()));
            would.handle = Some(handle.to_string());
            return Ok(would);
        }
        service
            .finish(move |service| async move {
                identity::set_handle(service.parts(), handle).await?;
                show(service.parts())
            })
            .await
    }
}

/// Tells the recovery secret, and perhaps deletes it from this device.
#[derive(Debug)]
pub struct Recovery;

/// Whether to delete it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryRequest {
    /// It is saved elsewhere: delete it from this device.
    #[serde(default)]
    pub forget: bool,
}

/// The recovery secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryResponse {
    /// The secret to write down; none once it was deleted.
    pub recovery: Option<String>,
    /// Whether it is gone from this device.
    pub forgotten: bool,
}

impl Verb for Recovery {
    const NAME: &'static str = "identity_recovery";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/identity/recovery";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "The recovery secret as long as it lies on this device.";
    type Request = RecoveryRequest;
    type Response = RecoveryResponse;

    async fn run(service: &Arc<Service>, request: RecoveryRequest, _: &Progress) -> Result<RecoveryResponse, Problem> {
        let parts = service.parts();
        match identity::recovery(parts)? {
            identity::Recovery::Elsewhere => return Err(IdentityError::NoRecovery(parts.identity()).into()),
            identity::Recovery::Missing if !request.forget => return Err(IdentityError::RecoveryGone.into()),
            identity::Recovery::Unsaved | identity::Recovery::Saved | identity::Recovery::Missing => {}
        }
        let recovery = identity::recovery_text(parts, parts.identity())?;
        if request.forget {
            identity::forget_recovery(parts)?;
        }
        Ok(RecoveryResponse { forgotten: request.forget || recovery.is_none(), recovery })
    }
}

/// Says that this home, a copy, is the only one left.
#[derive(Debug)]
pub struct Adopt;

/// Whether only to look.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptRequest {
    /// Only look whether there is anything to adopt.
    #[serde(default)]
    pub dry_run: bool,
    /// Ask nobody what this device has signed since the home was copied or backed up: it has signed nothing.
    #[serde(default)]
    pub offline: bool,
}

/// What was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptResponse {
    /// The device's key.
    pub device: String,
    /// Whether the home was at home already.
    pub already: bool,
    /// Keys of peers that were asked and did not answer: they may have more of what this device has signed.
    pub silent: Vec<String>,
}

impl Verb for Adopt {
    const NAME: &'static str = "identity_adopt";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/identity/adopt";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Says that a home that was copied, restored or moved here is the only one left.";
    type Request = AdoptRequest;
    type Response = AdoptResponse;

    async fn run(service: &Arc<Service>, request: AdoptRequest, progress: &Progress) -> Result<AdoptResponse, Problem> {
        let parts = service.parts();
        let (device, already) = (parts.device.to_string(), !adopt::is_wanted(parts)?);
        if already || request.dry_run {
            return Ok(AdoptResponse { device, already, silent: Vec::new() });
        }
        let online = if request.offline { None } else { Some(service.reach().await?) };
        let silent = adopt::adopt(parts, online.as_ref(), progress).await?;
        Ok(AdoptResponse { device, already, silent: silent.iter().map(ToString::to_string).collect() })
    }
}

pub(super) fn show(parts: &Parts) -> Result<IdentityResponse, Problem> {
    let (recovery, recovery_damage) = match identity::recovery(parts) {
        Ok(identity::Recovery::Unsaved) => ("unsaved", None),
        Ok(identity::Recovery::Saved) => ("saved", None),
        Ok(identity::Recovery::Missing) => ("missing", None),
        Ok(identity::Recovery::Elsewhere) => ("elsewhere", None),
        // It keeps nobody from seeing the rest.
        Err(error @ IdentityError::Recovery { .. }) => ("damaged", Some(Problem::from(error).to_string())),
        Err(error) => return Err(error.into()),
    };
    let (status, silenced) = voice(parts)?;
    Ok(IdentityResponse {
        status: status.to_owned(),
        silenced: silenced.map(str::to_owned),
        identity: parts.identity().to_string(),
        device: parts.device.to_string(),
        handle: identity::handle(parts)?.map(|handle| handle.to_string()),
        ref_prefix: format!("{}/", identity::owner_text(&parts.histories, parts.identity())?),
        recovery: recovery.to_owned(),
        recovery_damage,
    })
}

/// Whether this device speaks for its identity, and what to do if it does not.
fn voice(parts: &Parts) -> Result<(&'static str, Option<&'static str>), Problem> {
    let own = parts.histories.identity(parts.identity())?;
    let status = own.as_ref().and_then(|own| own.devices.get(&parts.device)).map(|known| &known.status);
    let way_out = match status {
        Some(DeviceStatus::Active) => None,
        Some(DeviceStatus::Suspended { .. }) => Some(
            "nothing that this device publishes counts for anybody; the recovery key ends that: `syncra id recover --lift`, here or \
             on another device of yours; it asks for the recovery secret unless that is on the device or SYNCRA_RECOVERY_FILE \
             names a file with it",
        ),
        Some(DeviceStatus::Revoked) => Some(
            "nothing that this device publishes counts for anybody, for ever; begin anew in a fresh home: \
             `syncra --home DIR pair CODE` with a code from `syncra pair` on another device of yours, or \
             `syncra --home DIR id recover IDENTITY` with the recovery key",
        ),
        None => Some(
            "nothing that this device publishes counts until another device of yours has added it, and that is known \
             here: `syncra devices add KEY --label NAME` there, with the key that `syncra id` shows here",
        ),
    };
    Ok((status.map_or("not_admitted", devices::status_text), way_out))
}
