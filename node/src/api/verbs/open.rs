//! Links: opened, so that somebody can see what they lead to before anything is installed.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::Release;
use syncra_protocol::id::{PackageId, ReleaseId};
use syncra_protocol::limits::LINK_BYTES;
use syncra_protocol::manifest::{Permissions, ResolvedManifest};
use syncra_protocol::reference::{QualifiedName, Reference};
use utoipa::ToSchema;

use super::find;
use super::install::{self, ChangeResponse};
use super::packages::{self, OwnerInfo, VerifiedInfo};
use crate::api::types::WitnessedInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::contact::{self, Failed, Given};
use crate::flow::install::Request;
use crate::flow::resolve::{self, Named};
use crate::flow::{Parts, content, reach, release};
use crate::installed::Slot;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Finds what a link leads to.
#[derive(Debug)]
pub struct Open;

/// A link.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// A link as `share` makes it, or a reference by owner and name.
    pub uri: String,
    /// Only with what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that finding may take, and each manifest without a byte from anybody; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What it leads to. Nothing is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenResponse {
    /// How strangers name the package, by its verified history: an argument on any node that knows it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// What the link calls it: a claim of whoever made the link.
    pub claimed: Option<String>,
    /// Who owns it.
    pub owners: Vec<OwnerInfo>,
    /// Its kind.
    pub kind: String,
    /// What it says it is.
    pub description: Option<String>,
    /// The release that would be installed.
    pub version: String,
    /// Its id.
    pub release_id: String,
    /// Its files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// What it asks for; nothing is granted by asking.
    pub permissions: Vec<String>,
    /// The other packages that would be installed or changed with it.
    pub needs: Vec<NeedInfo>,
    /// Logs whose key signed two histories: nothing newer of them is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forked: Vec<String>,
    /// How new this is: `witnessed`, or `unknown` as long as too few of the reader's witnesses have spoken.
    pub freshness: String,
    /// What they say.
    pub witnessed: WitnessedInfo,
    /// What was verified to tell this.
    pub verified: VerifiedInfo,
    /// What `add` takes to install it.
    pub add: String,
    /// What would change; its `plan` makes `add` do that or nothing.
    pub change: ChangeResponse,
    /// What people should be told.
    pub warnings: Vec<String>,
}

/// A package that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeedInfo {
    /// Its reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// The version that would be installed.
    pub version: String,
    /// What it asks for.
    pub permissions: Vec<String>,
}

impl Verb for Open {
    const NAME: &'static str = "open";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/open";
    // Addresses are dialled, and what is found is kept, so looking alone is not enough.
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Finds what a link leads to and tells what installing it would do; installs nothing.";
    type Request = OpenRequest;
    type Response = OpenResponse;

    async fn run(service: &Arc<Service>, request: OpenRequest, _: &Progress) -> Result<OpenResponse, Problem> {
        if request.uri.len() > LINK_BYTES {
            let message = format!("{} bytes are no link, which has at most {LINK_BYTES}", request.uri.len());
            return Err(Problem::new(Code::BadArgument, message));
        }
        let (given, patience) = (Given::parse(&request.uri)?, find::patience(request.timeout_s));
        let failed = match &given {
            _ if request.offline => Vec::new(),
            Given::Link(link) => {
                let online = find::in_time(patience, service.begin_to_reach()).await??;
                contact::contact(service.parts(), &online, link, patience).await?
            }
            Given::Name(reference) => {
                find::look_around(service, reference, patience).await?;
                Vec::new()
            }
        };
        let (reference, claimed) = match given {
            Given::Link(link) => (link.reference(), link.name().cloned()),
            Given::Name(reference) => (reference, None),
        };
        let opened = Opened { parts: service.parts(), patience, is_offline: request.offline };
        opened.show(resolve::package(service.parts(), &reference)?, claimed, &failed).await
    }
}

/// What is told about a package that was found.
struct Opened<'a> {
    parts: &'a Parts,
    patience: Duration,
    is_offline: bool,
}

impl Opened<'_> {
    async fn show(
        &self,
        named: Named,
        claimed: Option<QualifiedName>,
        failed: &[Failed],
    ) -> Result<OpenResponse, Problem> {
        let (parts, state) = (self.parts, &named.history.state);
        let selection = resolve::release(state, named.selector.as_ref())?;
        let meant = &selection.published.release;
        let manifest = self.manifest(meant).await?;
        let request = Request::Add { package: state.package, selector: named.selector.clone() };
        let plan = reach::plan(parts, &request, self.patience).await?;
        let mut needs = Vec::new();
        for change in &plan.changes {
            if let Some(slot) = change.to.as_ref().filter(|_| change.package != state.package) {
                needs.push(self.need(change.package, slot).await?);
            }
        }
        let change = install::would(parts, &plan);
        let logs = named.history.evidence.heads();
        let (n_logs, n_entries) = logs.fold((0, 0), |(logs, entries), head| (logs + 1, entries + head.size()));
        let mut warnings = change.warnings.clone();
        warnings.extend(lie(&named.reference, claimed.as_ref()));
        warnings.extend(failed.iter().map(|Failed { address, why }| format!("nothing came of {address}: {why}")));
        let witnessed = WitnessedInfo::from(self.parts.witnesses.freshness(named.history.evidence.heads()));
        Ok(OpenResponse {
            package_id: state.package.to_string(),
            claimed: claimed.map(|name| name.to_string()),
            owners: packages::owners(parts, state)?,
            kind: state.genesis.kind.as_str().to_owned(),
            description: manifest.header().description.as_ref().map(ToString::to_string),
            version: meant.version.to_string(),
            release_id: selection.release.to_string(),
            n_files: meant.n_files.into(),
            total_bytes: meant.total_bytes,
            permissions: asked(&manifest),
            needs,
            forked: named.history.evidence.forks().map(|proof| proof.origin().to_string()).collect(),
            freshness: witnessed.word(),
            witnessed,
            verified: VerifiedInfo { logs: n_logs, entries: n_entries },
            add: Reference::Package(state.package, named.selector.clone()).to_string(),
            reference: named.reference,
            change,
            warnings,
        })
    }

    async fn need(&self, package: PackageId, slot: &Slot) -> Result<NeedInfo, Problem> {
        let manifest = self.manifest(&self.entry(package, slot.release).await?).await?;
        Ok(NeedInfo {
            reference: slot.reference.clone(),
            package_id: package.to_string(),
            version: slot.version.to_string(),
            permissions: asked(&manifest),
        })
    }

    async fn entry(&self, package: PackageId, release: ReleaseId) -> Result<Release, content::ContentError> {
        let history = content::history(self.parts, package).await?;
        let published = history.state.releases.get(&release);
        Ok(published.ok_or(content::ContentError::UnknownRelease(release))?.release.clone())
    }

    /// The manifest of a release, fetched if it is not here: nobody is asked whether to install what asks for who knows
    /// what.
    async fn manifest(&self, of: &Release) -> Result<ResolvedManifest, Problem> {
        if let Some(online) = self.parts.online().filter(|_| !self.is_offline) {
            reach::manifest_of(self.parts, online, of, self.patience).await?;
        }
        Ok(release::manifest(self.parts.blobs().await?, of).await?)
    }
}

/// Everything that a package asks for, in words.
pub(super) fn asked(manifest: &ResolvedManifest) -> Vec<String> {
    manifest.permissions().beyond(&Permissions::default())
}

/// What to say when the link and the package's owner do not call it the same.
fn lie(reference: &str, claimed: Option<&QualifiedName>) -> Option<String> {
    let claimed = claimed?.to_string();
    (claimed != reference).then(|| format!("the link calls it `{claimed}`; its owner calls it `{reference}`"))
}
