//! The devices of this device's identity, and its recovery key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::{self, DeviceRole};
use syncra_protocol::fold::DeviceStatus;
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::name::{PackageName, RefName};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::devices::{self, Known, Recovery};
use crate::flow::regard::{self, RegardError};
use crate::flow::{Parts, identity, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Lists the devices of this device's identity.
#[derive(Debug)]
pub struct Devices;

/// The devices of this device's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DevicesResponse {
    /// The identity.
    pub identity: String,
    /// Every device that spoke for it at some time.
    pub devices: Vec<DeviceInfo>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceInfo {
    /// Its key.
    pub device: String,
    /// What people call it; none of the one that the identity began with.
    pub label: Option<String>,
    /// `manager` or `publisher`.
    pub role: String,
    /// `active`, `suspended` or `revoked`.
    pub status: String,
    /// Whether it is the one that answers.
    pub this: bool,
}

/// The word for whether a device may speak.
pub(super) const fn status_text(status: &DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Active => "active",
        DeviceStatus::Suspended { .. } => "suspended",
        DeviceStatus::Revoked => "revoked",
    }
}

impl From<Known> for DeviceInfo {
    fn from(known: Known) -> Self {
        let status = status_text(&known.device.status);
        Self {
            device: known.key.to_string(),
            label: known.device.label.map(|label| label.to_string()),
            role: role_text(known.device.role).to_owned(),
            status: status.to_owned(),
            this: known.is_this,
        }
    }
}

/// A role as people write it.
#[must_use]
pub const fn role_text(role: DeviceRole) -> &'static str {
    match role {
        DeviceRole::Manager => "manager",
        DeviceRole::Publisher => "publisher",
    }
}

/// The role that somebody wrote.
///
/// # Errors
/// [`Problem`] for any other word.
pub fn role_of(text: &str) -> Result<DeviceRole, Problem> {
    match text {
        "manager" => Ok(DeviceRole::Manager),
        "publisher" => Ok(DeviceRole::Publisher),
        _ => {
            let problem = Problem::new(Code::BadArgument, format!("`{text}` is no role of a device"));
            Err(problem.with_hint("a device is a `manager` or a `publisher`"))
        }
    }
}

impl Verb for Devices {
    const NAME: &'static str = "devices_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/devices";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The devices of this device's identity.";
    type Request = Empty;
    type Response = DevicesResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<DevicesResponse, Problem> {
        let parts = service.parts();
        let devices = devices::list(parts)?.into_iter().map(DeviceInfo::from).collect();
        Ok(DevicesResponse { identity: parts.identity().to_string(), devices })
    }
}

/// Lets a further device speak for the identity.
#[derive(Debug)]
pub struct AddDevice;

/// Which device, and what it may do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDeviceRequest {
    /// Its key, as `syncra id` shows it there.
    pub device: String,
    /// What to call it: a name of `a-z`, `0-9`, `.`, `_`, `/`, `-`.
    pub label: String,
    /// `manager` or `publisher`.
    pub role: String,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceResponse {
    /// The device.
    pub device: String,
    /// Whether it was so before.
    pub already: bool,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
    /// Releases that were named and count all the same, for others have built on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Packages of which the history that is held here goes on, though the device's key has signed another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goes_on: Vec<GoesOn>,
}

/// One of two histories that is to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GoesOn {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The newest version in that history.
    pub version: String,
}

fn goes_on(parts: &Parts, devices: &[DeviceKey]) -> Result<Vec<GoesOn>, Problem> {
    let going_on = devices::going_on(parts, devices)?;
    Ok(going_on.into_iter().map(|(reference, version)| GoesOn { reference, version }).collect())
}

impl Verb for AddDevice {
    const NAME: &'static str = "devices_add";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/devices";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Lets a further device speak for this device's identity, once it has joined.";
    type Request = AddDeviceRequest;
    type Response = DeviceResponse;

    async fn run(service: &Arc<Service>, request: AddDeviceRequest, _: &Progress) -> Result<DeviceResponse, Problem> {
        let AddDeviceRequest { device, label, role, dry_run } = request;
        let key: DeviceKey = device.parse().map_err(|_| not_a_key(&device))?;
        let added = entry::AddDevice { device: key, role: role_of(&role)?, label: RefName::parse(&label)? };
        service
            .finish(move |service| async move {
                let did = devices::add(service.parts(), added, dry_run).await?;
                Ok(DeviceResponse {
                    device: key.to_string(),
                    already: !did,
                    dry_run,
                    kept: Vec::new(),
                    goes_on: Vec::new(),
                })
            })
            .await
    }
}

/// Takes a device's voice away until the recovery key says more.
#[derive(Debug)]
pub struct SuspendDevice;

/// Which device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendDeviceRequest {
    /// Its label, its key, or the first characters of the key.
    pub device: String,
    /// Releases of it that shall not count, nor what it wrote in their packages later.
    #[serde(default)]
    pub before: Vec<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

impl Verb for SuspendDevice {
    const NAME: &'static str = "devices_suspend";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/devices/suspend";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Takes a device's voice away: what it wrote so far stays, nothing later counts.";
    type Request = SuspendDeviceRequest;
    type Response = DeviceResponse;

    async fn run(
        service: &Arc<Service>,
        request: SuspendDeviceRequest,
        _: &Progress,
    ) -> Result<DeviceResponse, Problem> {
        let SuspendDeviceRequest { device, before, dry_run } = request;
        let known = devices::find(service.parts(), &device)?;
        let before = releases(service.parts(), &before, &[known.key])?;
        service
            .finish(move |service| async move {
                let goes_on = goes_on(service.parts(), &[known.key])?;
                let did = devices::suspend(service.parts(), known.key, &before, dry_run).await?;
                let kept = if dry_run { Vec::new() } else { devices::counting(service.parts(), &before)? };
                Ok(DeviceResponse { device: known.key.to_string(), already: !did, dry_run, kept, goes_on })
            })
            .await
    }
}

/// Says which package a name means.
#[derive(Debug)]
pub struct NameDevicePackage;

/// Which name, which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamePackageRequest {
    /// The name.
    pub name: String,
    /// The package's id.
    pub package: String,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What the name means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamePackageResponse {
    /// The name.
    pub name: String,
    /// The package's id.
    pub package_id: String,
    /// Whether it was so before.
    pub already: bool,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
}

impl Verb for NameDevicePackage {
    const NAME: &'static str = "identity_name";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/identity/name";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Says which package a name of this device's identity means.";
    type Request = NamePackageRequest;
    type Response = NamePackageResponse;

    async fn run(
        service: &Arc<Service>,
        request: NamePackageRequest,
        _: &Progress,
    ) -> Result<NamePackageResponse, Problem> {
        let NamePackageRequest { name, package, dry_run } = request;
        let name = PackageName::parse(&name)?;
        let text = package.strip_prefix("syncra:").unwrap_or(&package);
        let package: PackageId =
            text.parse().map_err(|_| Problem::new(Code::BadArgument, format!("`{package}` is no package id")))?;
        service
            .finish(move |service| async move {
                let did = devices::name(service.parts(), &name, package, dry_run).await?;
                let (name, package_id) = (name.to_string(), package.to_string());
                Ok(NamePackageResponse { name, package_id, already: !did, dry_run })
            })
            .await
    }
}

/// Speaks with the recovery key.
#[derive(Debug)]
pub struct Recover;

/// What the recovery key is to say.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The identity; this device's own if none is named.
    #[serde(default)]
    pub identity: Option<String>,
    /// The recovery secret; the one that lies on this device if none is given.
    #[serde(default)]
    pub secret: Option<String>,
    /// Devices to revoke.
    #[serde(default)]
    pub revoke: Vec<String>,
    /// Releases of them that shall not count, nor what they wrote in their packages later.
    #[serde(default)]
    pub before: Vec<String>,
    /// Ends suspensions.
    #[serde(default)]
    pub lift: bool,
    /// Makes a new recovery key.
    #[serde(default)]
    pub rotate: bool,
    /// What to call this device, if it is to be added.
    #[serde(default)]
    pub label: Option<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

impl core::fmt::Debug for RecoverRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RecoverRequest").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What the recovery key said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoverResponse {
    /// The identity.
    pub identity: String,
    /// Whether this device was added.
    pub admitted: bool,
    /// Devices revoked.
    pub revoked: Vec<String>,
    /// Suspensions ended.
    pub n_lifted: usize,
    /// Whether there is a new recovery key: `syncra id recovery` shows it.
    pub rotated: bool,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
    /// Packages of which the history that is held here goes on, though a revoked device's key has signed another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goes_on: Vec<GoesOn>,
}

impl Verb for Recover {
    const NAME: &'static str = "identity_recover";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/identity/recover";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Speaks with the recovery key: adds this device, revokes others, ends suspensions.";
    type Request = RecoverRequest;
    type Response = RecoverResponse;

    async fn run(service: &Arc<Service>, request: RecoverRequest, _: &Progress) -> Result<RecoverResponse, Problem> {
        service.finish(move |service| async move { recover(service.parts(), request).await }).await
    }
}

async fn recover(parts: &Parts, request: RecoverRequest) -> Result<RecoverResponse, Problem> {
    let RecoverRequest { identity: named, secret, revoke, before, lift, rotate, label, dry_run } = request;
    let identity: IdentityId = match &named {
        None => parts.identity(),
        Some(text) => regard::whom(parts, text).map_err(|error| match error {
            RegardError::Unknown(_) => Problem::from(error).with_hint(devices::BRING_A_PACKAGE),
            _ => error.into(),
        })?,
    };
    let text = match secret {
        Some(text) => text,
        None => identity::recovery_text(parts, identity)?.ok_or(identity::IdentityError::NoRecovery(identity))?,
    };
    let secret = identity::recovery_secret(&text)
        .map_err(|_| Problem::new(Code::BadArgument, "this is no recovery secret: 52 letters and digits"))?;
    let revoke = match revoke.is_empty() {
        true => Vec::new(),
        false => {
            let known = devices::list_of(parts, identity)?;
            revoke.iter().map(|name| devices::find_in(&known, name).map(|known| known.key)).collect::<Result<_, _>>()?
        }
    };
    let label = label.map(|label| RefName::parse(&label)).transpose()?;
    let before = releases(parts, &before, &revoke)?;
    let wanted = Recovery { revoke, before, lift, label, rotate };
    let goes_on = goes_on(parts, &wanted.revoke)?;
    let done = devices::recover(parts, identity, &secret, &wanted, dry_run).await?;
    Ok(RecoverResponse {
        identity: identity.to_string(),
        admitted: done.admitted,
        revoked: done.revoked.iter().map(ToString::to_string).collect(),
        n_lifted: done.n_lifted,
        rotated: done.rotated,
        dry_run,
        goes_on,
    })
}

/// The releases of these devices that somebody names.
fn releases(
    parts: &Parts,
    references: &[String],
    devices: &[DeviceKey],
) -> Result<Vec<(PackageId, ReleaseId)>, Problem> {
    let release = |text: &String| -> Result<_, Problem> {
        let named = resolve::package(parts, &Reference::parse(text)?)?;
        let release = resolve::written(&named, |known| devices.contains(&known.writer.key))?;
        Ok((named.history.state.package, release))
    };
    references.iter().map(release).collect()
}

fn not_a_key(text: &str) -> Problem {
    let problem = Problem::new(Code::BadArgument, format!("`{text}` is no device key"));
    problem.with_hint("`syncra id` on the other device shows it")
}
