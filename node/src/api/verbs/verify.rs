//! Looking at everything again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use crate::api::types::WitnessedInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::{resolve, verify};
use crate::problem::Problem;
use crate::progress::Progress;

/// Verifies what is held.
#[derive(Debug)]
pub struct Verify;

/// What to look at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// One package, by reference; all if none is said.
    #[serde(rename = "ref", default)]
    pub reference: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyResponse {
    /// Whether all is as it should be.
    pub ok: bool,
    /// What was looked at.
    pub packages: Vec<VerifiedPackage>,
    /// What is wrong.
    pub problems: Vec<VerifyProblem>,
    /// What is not here and need not be: this home came from elsewhere without it, as after a restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<VerifyProblem>,
}

/// What was looked at in one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedPackage {
    /// Its reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Logs, each against the note of its key.
    pub logs: u64,
    /// Entries in them.
    pub entries: u64,
    /// Releases whose content is held.
    pub releases: u64,
    /// Blobs, each hashed; one that several packages share is counted once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How new its logs are: `witnessed` or `unknown`.
    pub freshness: String,
    /// What the reader's witnesses say of that.
    pub witnessed: WitnessedInfo,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyProblem {
    /// What.
    pub what: String,
    /// How it is wrong.
    pub detail: String,
    /// What to do, if anything helps that is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Verb for Verify {
    const NAME: &'static str = "verify";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/verify";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str =
        "Verifies logs, notes and content that are held, and what is installed, from their bytes.";
    type Request = VerifyRequest;
    type Response = VerifyResponse;

    async fn run(
        service: &Arc<Service>,
        request: VerifyRequest,
        progress: &Progress,
    ) -> Result<VerifyResponse, Problem> {
        let parts = service.parts();
        let one = match request.reference {
            Some(reference) => Some([resolve::package(parts, &Reference::parse(&reference)?)?.history.state.package]),
            None => None,
        };
        let packages = one.map_or_else(|| parts.histories.packages(), Vec::from);
        let mut report = verify::verify(parts, &packages, progress).await?;
        let one = one.as_ref().map(|one| one.as_slice());
        verify::verify_installed(parts, one, &mut report, progress).await?;
        let package = |found: verify::PackageReport| VerifiedPackage {
            freshness: WitnessedInfo::from(found.freshness).word(),
            witnessed: found.freshness.into(),
            reference: found.reference,
            logs: found.logs,
            entries: found.entries,
            releases: found.releases,
            blobs: found.blobs,
            bytes: found.bytes,
        };
        let problem = |found: verify::Finding| VerifyProblem { what: found.what, detail: found.detail, fix: found.fix };
        Ok(VerifyResponse {
            ok: report.problems.is_empty(),
            packages: report.packages.into_iter().map(package).collect(),
            problems: report.problems.into_iter().map(problem).collect(),
            absent: report.absent.into_iter().map(problem).collect(),
        })
    }
}
