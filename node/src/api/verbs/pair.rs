//! Pairing: making a device one of this device's identity, or this device one of another's.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::LINK_ADDRESSES;
use syncra_protocol::name::RefName;
use utoipa::ToSchema;

use super::devices::{role_of, role_text};
use super::find;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::pair::{self, Code as PairCode, Decision, OFFER_LASTS};
use crate::flow::{devices, share};
use crate::net::{DialError, Multiaddr, Net};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Waits under a new code.
#[derive(Debug)]
pub struct OfferPairing;

/// The code to carry to the other device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferPairingResponse {
    /// The code.
    pub code: String,
    /// Where this node is reached: for `--at` on the other device, if it is not on this network.
    pub addresses: Vec<String>,
    /// How long the code is good for, in seconds.
    pub lasts_s: u64,
}

impl Verb for OfferPairing {
    const NAME: &'static str = "pair_offer";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/pair";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Waits for a further device under a new code.";
    type Request = Empty;
    type Response = OfferPairingResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<OfferPairingResponse, Problem> {
        let parts = service.parts();
        devices::ensure_manager(parts)?;
        service.reach().await?;
        let code = parts.pairing.begin()?;
        let (addresses, _) = share::addresses(parts);
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Ok(OfferPairingResponse { code: code.to_string(), addresses, lasts_s: OFFER_LASTS.as_secs() })
    }
}

/// Waits until somebody who knows the code asks.
#[derive(Debug)]
pub struct AwaitPairing;

/// Which code.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitPairingRequest {
    /// The code.
    pub code: String,
    /// Seconds that it may take; as long as the code is good for by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

impl core::fmt::Debug for AwaitPairingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AwaitPairingRequest").field("timeout_s", &self.timeout_s).finish_non_exhaustive()
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateResponse {
    /// The device's key, proven by its connection.
    pub device: String,
    /// What it would like to be called.
    pub label: String,
}

impl Verb for AwaitPairing {
    const NAME: &'static str = "pair_await";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/pair/await";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Waits until a device that knows the code asks to be added.";
    type Request = AwaitPairingRequest;
    type Response = CandidateResponse;

    async fn run(
        service: &Arc<Service>,
        request: AwaitPairingRequest,
        _: &Progress,
    ) -> Result<CandidateResponse, Problem> {
        let patience = request.timeout_s.map_or(OFFER_LASTS, Duration::from_secs).min(OFFER_LASTS);
        let candidate = service.parts().pairing.candidate(&code(&request.code)?, patience).await?;
        Ok(CandidateResponse { device: candidate.device.to_string(), label: candidate.label.to_string() })
    }
}

/// Decides about the device that asked.
#[derive(Debug)]
pub struct DecidePairing;

/// What was decided.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecidePairingRequest {
    /// The code.
    pub code: String,
    /// The key of the device that is meant, as it was shown.
    pub device: String,
    /// `manager` or `publisher`; none: no.
    #[serde(default)]
    pub role: Option<String>,
    /// What it shall be called instead.
    #[serde(default)]
    pub label: Option<String>,
}

impl core::fmt::Debug for DecidePairingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DecidePairingRequest").field("role", &self.role).finish_non_exhaustive()
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecidePairingResponse {
    /// Whether the device was added.
    pub added: bool,
}

impl Verb for DecidePairing {
    const NAME: &'static str = "pair_decide";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/pair/decide";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Adds the device that asked under a code, or declines; the code ends.";
    type Request = DecidePairingRequest;
    type Response = DecidePairingResponse;

    async fn run(
        service: &Arc<Service>,
        request: DecidePairingRequest,
        _: &Progress,
    ) -> Result<DecidePairingResponse, Problem> {
        let code = code(&request.code)?;
        let device = request.device.parse::<DeviceKey>();
        let device = device.map_err(|error| Problem::from_error(Code::BadArgument, &error))?;
        let role = request.role.as_deref().map(role_of).transpose()?;
        let label = request.label.as_deref().map(RefName::parse).transpose()?;
        let added = role.is_some();
        service
            .finish(move |service| async move {
                let decided = service.parts().pairing.decide(&code, device, Decision { role, label }).await;
                service.parts().pairing.end(&code);
                decided?;
                Ok(DecidePairingResponse { added })
            })
            .await
    }
}

/// Makes this device one of another identity's.
#[derive(Debug)]
pub struct JoinPairing;

/// By which code.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinPairingRequest {
    /// The code that the other device shows.
    pub code: String,
    /// What this device would like to be called.
    pub label: String,
    /// Where the other device may be; neighbours and connected peers are asked if none is given.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Seconds that finding the other device may take; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

impl core::fmt::Debug for JoinPairingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JoinPairingRequest").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Whose device this is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinPairingResponse {
    /// The identity.
    pub identity: String,
    /// What references to its packages begin with.
    pub ref_prefix: String,
    /// `manager` or `publisher`.
    pub role: String,
    /// The device that let it in.
    pub by: String,
    /// Packages of the identity whose history came along.
    pub n_packages: usize,
    /// Packages whose history did not: they come from whoever has them.
    pub n_missing: usize,
}

impl Verb for JoinPairing {
    const NAME: &'static str = "pair_join";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/pair/join";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Makes this device one of the identity's whose device shows the code.";
    type Request = JoinPairingRequest;
    type Response = JoinPairingResponse;

    async fn run(
        service: &Arc<Service>,
        request: JoinPairingRequest,
        progress: &Progress,
    ) -> Result<JoinPairingResponse, Problem> {
        let code = code(&request.code)?;
        let label = RefName::parse(&request.label)?;
        let parts = service.parts();
        devices::ensure_free(parts)?;
        let patience = find::patience(request.timeout_s);
        let online = find::in_time(patience, service.reach()).await??;
        let addresses = request.addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        let peers = match addresses.is_empty() {
            true => online.net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect(),
            false => find::in_time(patience, first_reached(&online.net, addresses)).await??,
        };
        progress.items("waiting for the other device", 0, None);
        let joined = pair::join(parts, &online.net, &peers, &code, &label).await?;
        let names = parts.histories.identity(joined.identity)?.map(|state| state.names.clone()).unwrap_or_default();
        let mut n_packages = 0;
        for package in names.values() {
            // Without them this device knows their names only, and publishes nothing under these.
            drop(online.sync.refresh(*package, Some(vec![joined.by])).await);
            n_packages += usize::from(parts.histories.package(*package)?.is_some());
        }
        Ok(JoinPairingResponse {
            identity: joined.identity.to_string(),
            ref_prefix: super::identity::show(parts)?.ref_prefix,
            role: role_text(joined.role).to_owned(),
            by: joined.by.to_string(),
            n_packages,
            n_missing: names.len() - n_packages,
        })
    }
}

fn address(text: &str) -> Result<Multiaddr, Problem> {
    text.parse().map_err(|_| {
        Problem::new(Code::BadArgument, format!("`{text}` is not a multiaddress"))
            .with_hint("one looks like `/ip4/192.0.2.7/tcp/4001`")
    })
}

/// Whoever answers first: all are one device's, some of which only others can reach.
async fn first_reached(net: &Net, addresses: Vec<Multiaddr>) -> Result<Vec<DeviceKey>, DialError> {
    let dials = addresses.into_iter().take(LINK_ADDRESSES).map(|address| Box::pin(net.dial(address)));
    futures::future::select_ok(dials).await.map(|(peer, _)| vec![peer])
}

fn code(text: &str) -> Result<PairCode, Problem> {
    PairCode::parse(text).map_err(|error| Problem::from_error(Code::BadArgument, &error))
}
