//! Proposing changes to a package, looking at what was proposed, saying what one thinks, and closing.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::RefClass;
use syncra_protocol::id::PackageId;
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Subject;
use syncra_protocol::proposal::{Record, Said, Verdict};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use super::merge::absolute;
use super::packages;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::event::Event;
use crate::flow::checkout::{Base, DirLock};
use crate::flow::propose::{self, Standpoint, State};
use crate::flow::{Parts, publish, resolve, seek};
use crate::history::History;
use crate::problem::{Code, Problem};
use crate::progress::Progress;
use crate::proposals::Standing;

/// Proposes the changes of a checkout to its package.
#[derive(Debug)]
pub struct Propose;

/// Lists proposals, and says what one thinks of one.
#[derive(Debug)]
pub struct Review;

/// Closes a proposal, or takes it back.
#[derive(Debug)]
pub struct CloseProposal;

/// What to propose.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeRequest {
    /// The checkout, as an absolute path on the node's machine.
    pub dir: String,
    /// In a line; none: as before, for a proposal that is made anew.
    #[serde(default)]
    pub title: Option<String>,
    /// What changed, for people.
    #[serde(default)]
    pub note: Option<String>,
    /// Only say what would be proposed.
    #[serde(default)]
    pub dry_run: bool,
    /// Nobody is told now.
    #[serde(default)]
    pub offline: bool,
    /// Seconds for telling those who have the package; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposeResponse {
    /// The proposal, an argument on any node: a package of its own, without a name. None in a dry run of a first one.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The package that it is for.
    pub target: String,
    /// In a line.
    pub title: String,
    /// Its newest release.
    pub release_id: Option<String>,
    /// The version of that.
    pub version: String,
    /// Files.
    pub n_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Whether the same files were proposed before.
    pub already: bool,
    /// The proposal that was made from the directory before, if it has ended: this is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedInfo>,
    /// Peers that keep it.
    pub n_told: usize,
    /// Whether nothing was changed because it was only asked.
    pub dry_run: bool,
}

/// A proposal to which nothing can be added any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedInfo {
    /// The proposal.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `merged` or `closed`.
    pub state: String,
}

/// What to list, or what to say.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// A package, or a proposal by its id or the beginning of that. None: all that are known here.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// `comment`, `approve` or `request_changes`; none only looks.
    #[serde(default)]
    pub verdict: Option<String>,
    /// What one has to say.
    #[serde(default)]
    pub text: Option<String>,
    /// Only say what would be said.
    #[serde(default)]
    pub dry_run: bool,
    /// Only what is known here: nobody is asked or told.
    #[serde(default)]
    pub offline: bool,
    /// Seconds for asking and telling; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was proposed, and what is thought of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewResponse {
    /// The proposals.
    pub proposals: Vec<ProposalInfo>,
    /// Peers that answered.
    pub n_asked: usize,
    /// Peers that keep what was said.
    pub n_told: usize,
    /// Whether nothing was changed because it was only asked.
    pub dry_run: bool,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposalInfo {
    /// The proposal, an argument on any node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package that it is for.
    pub target: String,
    /// In a line.
    pub title: String,
    /// Who proposes it: what the user calls them, else `@handle~key`; of whom nothing else is known, the identity's first 12
    /// characters.
    pub by: String,
    /// What is known of them: `own`, `known`, or `stranger`, whose logs are not here.
    pub standing: String,
    /// `open`, `merged`, `withdrawn` or `closed`.
    pub state: String,
    /// The channel that it is meant for; none if it is a branch.
    pub channel: Option<String>,
    /// The branch that it is meant for.
    pub branch: Option<String>,
    /// Its newest release.
    pub release_id: String,
    /// The version of that; none as long as nothing else of it is known here.
    pub version: Option<String>,
    /// What was said about it.
    pub reviews: Vec<ReviewInfo>,
}

/// What somebody said about a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewInfo {
    /// Who, as for a proposal.
    pub by: String,
    /// What is known of them: `own`, `known` or `stranger`.
    pub standing: String,
    /// `comment`, `approve`, `request_changes` or `close`.
    pub verdict: String,
    /// In other words.
    pub text: String,
    /// Whether it is about the newest release.
    pub is_about_newest: bool,
}

/// What to close.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The proposal.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
    /// Nobody is told now.
    #[serde(default)]
    pub offline: bool,
    /// Seconds for telling; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

impl Verb for Propose {
    const NAME: &'static str = "propose";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/propose";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Proposes the changes of a checkout to its package; no right in the package is needed.";
    type Request = ProposeRequest;
    type Response = ProposeResponse;

    async fn run(
        service: &Arc<Service>,
        request: ProposeRequest,
        progress: &Progress,
    ) -> Result<ProposeResponse, Problem> {
        let dir = absolute(&request.dir)?;
        let parts = service.parts();
        let lock = if request.dry_run { None } else { DirLock::of_checkout(&dir)? };
        let asked = publish::Request { note: request.note.clone(), ..publish::Request::of(dir) };
        let mut plan = publish::plan(parts, asked).await?.into_proposal();
        let Some(base) = plan.base.clone() else {
            return Err(propose::ProposeError::NoCheckout(request.dir).into());
        };
        let before = made_before(parts, &base)?;
        let ended = before.as_ref().filter(|known| has_ended(known));
        if let (Some(_), Some(base)) = (ended, &mut plan.base) {
            base.proposal = None;
        }
        publish::check(parts, &plan).await?;
        let title = title(parts, base.proposal, base.package, request.title)?;
        let response = ProposeResponse {
            reference: base.proposal.filter(|_| ended.is_none()).map(|id| format!("syncra:{id}")),
            target: resolve::text(&parts.histories, base.package)?,
            title: title.clone(),
            release_id: None,
            version: plan.manifest.header.version.to_string(),
            n_files: plan.files.len() as u64,
            total_bytes: plan.files.iter().map(|file| file.size).sum(),
            already: false,
            ended: ended.map(|known| EndedInfo {
                reference: format!("syncra:{}", known.record.statement().proposal),
                state: known.state.as_str().to_owned(),
            }),
            n_told: 0,
            dry_run: request.dry_run,
        };
        if request.dry_run {
            return Ok(response);
        }
        let progress = progress.clone();
        let work = move |service: Arc<Service>| async move {
            let _lock = lock;
            let (done, record) = propose::propose(service.parts(), plan, &title, &progress).await?;
            let reference = format!("syncra:{}", done.package);
            let release_id = done.release_id.to_string();
            if !done.already {
                service.emit(Event::Published { reference: reference.clone(), release_id: release_id.clone() });
            }
            let version = done.release.version.to_string();
            let release_id = Some(release_id);
            // One that was taken back is proposed again, and one with another title too.
            let already = done.already && before.is_some_and(|before| before.record.bytes() == record.bytes());
            Ok((ProposeResponse { reference: Some(reference), release_id, version, already, ..response }, record))
        };
        let (mut response, record) = service.finish(work).await?;
        response.n_told = tell(service, base.package, &record, request.offline, request.timeout_s).await?;
        Ok(response)
    }
}

/// The proposal that was made from the directory before, as it stands.
fn made_before(parts: &Parts, base: &Base) -> Result<Option<Standpoint>, Problem> {
    let (Some(proposal), Some(history)) = (base.proposal, parts.histories.package(base.package)?) else {
        return Ok(None);
    };
    let all = propose::of(parts, &history)?.into_iter();
    Ok(all.into_iter().find(|known| {
        let statement = known.record.statement();
        statement.proposal == proposal && statement.by == parts.identity()
    }))
}

/// Whether no release that is added to it can be taken any more: it was merged or closed. One that was only taken back is
/// opened by proposing it again.
fn has_ended(known: &Standpoint) -> bool {
    let is_close = |record: &Record| matches!(&record.statement().said, Said::Review { verdict: Verdict::Close, .. });
    match known.state {
        State::Merged | State::Closed => true,
        State::Withdrawn => known.reviews.iter().any(|(record, _)| is_close(record)),
        State::Open => false,
    }
}

/// The title that was said, or that of the proposal as it is.
fn title(
    parts: &Parts,
    proposal: Option<PackageId>,
    target: PackageId,
    said: Option<String>,
) -> Result<String, Problem> {
    if let Some(title) = said {
        return Ok(title);
    }
    let of_proposal = |record: &Record| match &record.statement().said {
        Said::Proposal { title, .. } if Some(record.statement().proposal) == proposal => Some(title.clone()),
        _ => None,
    };
    let known = parts.proposals.of(target).iter().find_map(of_proposal);
    known.ok_or_else(|| Problem::new(Code::Usage, "say in a line what it is: the title is missing"))
}

/// Brings a record to those who have its package. It is kept here in any case.
async fn tell(
    service: &Service,
    package: PackageId,
    record: &Record,
    offline: bool,
    timeout_s: Option<u64>,
) -> Result<usize, Problem> {
    if offline {
        return Ok(0);
    }
    let patience = find::patience(timeout_s);
    let online = find::in_time(patience, service.reach()).await??;
    Ok(Box::pin(propose::hand_out(&online, package, std::slice::from_ref(record), patience)).await)
}

impl Verb for Review {
    const NAME: &'static str = "review";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/review";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Proposals to packages, what is thought of them, and saying what one thinks.";
    type Request = ReviewRequest;
    type Response = ReviewResponse;

    async fn run(service: &Arc<Service>, request: ReviewRequest, _: &Progress) -> Result<ReviewResponse, Problem> {
        let parts = service.parts();
        let verdict = request.verdict.as_deref().map(parse_verdict).transpose()?;
        let (targets, only) = wanted(parts, request.reference.as_deref())?;
        let n_asked = ask(service, &request, &targets, only.as_ref()).await?;
        let mut n_told = 0;
        match (verdict, &only) {
            (Some(verdict), Some(of)) if !request.dry_run => {
                let (of, text) = (of.clone(), request.text.clone().unwrap_or_default());
                let say = move |service: &Service| Ok(propose::review(service.parts(), &of, verdict, &text)?);
                let record = service.blocking(say).await?;
                let target = record.statement().target;
                n_told = tell(service, target, &record, request.offline, request.timeout_s).await?;
            }
            (Some(_), None) => return Err(Problem::new(Code::Usage, "say which proposal it is about")),
            _ => {}
        }
        let mut proposals = Vec::new();
        for target in targets {
            let Some(history) = parts.histories.package(target)? else { continue };
            for standpoint in propose::of(parts, &history)? {
                let is_meant = only.as_ref().is_none_or(|only| only.slot() == standpoint.record.slot());
                if is_meant {
                    proposals.push(info(parts, &history, standpoint)?);
                }
            }
        }
        Ok(ReviewResponse { proposals, n_asked, n_told, dry_run: request.dry_run })
    }
}

/// The packages whose proposals are meant, and the one proposal if it is one.
fn wanted(parts: &Parts, text: Option<&str>) -> Result<(Vec<PackageId>, Option<Record>), Problem> {
    let Some(text) = text else {
        let truth = parts.histories.journal().truth();
        let own = truth.own_logs().filter_map(|(origin, _)| match origin.subject {
            Subject::Package(package) => Some(package),
            Subject::Identity(_) => None,
        });
        let all: BTreeSet<PackageId> = parts.proposals.packages().into_iter().chain(own).collect();
        return Ok((all.into_iter().collect(), None));
    };
    let is_package = text.starts_with('@');
    match propose::find(parts, text) {
        Ok(record) if !is_package => return Ok((vec![record.statement().target], Some(record))),
        Err(error @ propose::ProposeError::Ambiguous(_)) if !is_package => return Err(error.into()),
        Err(error @ propose::ProposeError::Unknown(_)) if !is_package && !text.starts_with("syncra:") => {
            return Err(error.into());
        }
        _ => {}
    }
    let named = resolve::package(parts, &Reference::parse(text)?)?;
    Ok((vec![named.history.state.package], None))
}

/// Asks peers for what was proposed to these packages, and for the history of the one that is looked at.
async fn ask(
    service: &Service,
    request: &ReviewRequest,
    targets: &[PackageId],
    only: Option<&Record>,
) -> Result<usize, Problem> {
    // Without a name only a node that runs asks: a short-lived one would ask about everything.
    let is_online = service.parts().online().is_some();
    if request.offline || request.reference.is_none() && !is_online {
        return Ok(0);
    }
    let (parts, patience) = (service.parts(), find::patience(request.timeout_s));
    let online = find::in_time(patience, service.reach()).await??;
    let mut n_asked = 0;
    for target in targets {
        n_asked += Box::pin(propose::gather(parts, &online, *target, patience)).await;
    }
    if let Some(only) = only {
        let proposal = only.statement().proposal;
        // It can be listed without.
        drop(find::in_time(patience, Box::pin(seek::history(parts, &online, proposal))).await);
    }
    Ok(n_asked)
}

impl Verb for CloseProposal {
    const NAME: &'static str = "close";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/close";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Closes a proposal to a package that this device writes to, or takes an own one back.";
    type Request = CloseRequest;
    type Response = ReviewResponse;

    async fn run(service: &Arc<Service>, request: CloseRequest, _: &Progress) -> Result<ReviewResponse, Problem> {
        let parts = service.parts();
        let of = propose::find(parts, &request.reference)?;
        let target = of.statement().target;
        let history = parts.histories.package(target)?;
        let is_own = of.statement().by == parts.identity();
        let may = |history: &History| history.state.may_write(&parts.identity(), &parts.device);
        if !is_own && !history.as_deref().is_some_and(may) {
            return Err(propose::ProposeError::NotYours.into());
        }
        let mut n_told = 0;
        if !request.dry_run {
            let (of, why) = (of.clone(), request.reason.clone().unwrap_or_default());
            let say = move |service: &Service| Ok(propose::close(service.parts(), &of, &why)?);
            let record = service.blocking(say).await?;
            n_told = tell(service, target, &record, request.offline, request.timeout_s).await?;
        }
        let mut proposals = Vec::new();
        if let Some(history) = history {
            let all = propose::of(parts, &history)?.into_iter();
            for standpoint in all.filter(|standpoint| standpoint.record.slot() == of.slot()) {
                proposals.push(info(parts, &history, standpoint)?);
            }
        }
        Ok(ReviewResponse { proposals, n_asked: 0, n_told, dry_run: request.dry_run })
    }
}

fn parse_verdict(text: &str) -> Result<Verdict, Problem> {
    match text {
        "comment" => Ok(Verdict::Comment),
        "approve" => Ok(Verdict::Approve),
        "request_changes" => Ok(Verdict::RequestChanges),
        _ => Err(Problem::new(Code::BadArgument, format!("`{text}` is no verdict"))),
    }
}

const fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Comment => "comment",
        Verdict::Approve => "approve",
        Verdict::RequestChanges => "request_changes",
        Verdict::Close => "close",
    }
}

fn standing_text(standing: Option<Standing>) -> String {
    let text = match standing {
        Some(Standing::Own) => "own",
        Some(Standing::Known | Standing::Trusted) => "known",
        Some(Standing::Stranger) | None => "stranger",
    };
    text.to_owned()
}

fn info(parts: &Parts, history: &History, standpoint: Standpoint) -> Result<ProposalInfo, Problem> {
    let Standpoint { record, standing, state, reviews } = standpoint;
    let statement = record.statement();
    let Said::Proposal { class, name, release, title, .. } = statement.said.clone() else {
        return Err(Problem::new(Code::Bug, "a review was taken for a proposal"));
    };
    let (channel, branch) = place(class, &name);
    let proposed = parts.histories.package(statement.proposal)?;
    let version = proposed.and_then(|own| Some(own.state.releases.get(&release)?.release.version.to_string()));
    let mut infos = Vec::new();
    for (review, standing) in reviews {
        let Said::Review { release: about, verdict, text } = review.statement().said.clone() else { continue };
        infos.push(ReviewInfo {
            by: packages::person(parts, review.statement().by)?.short(),
            standing: standing_text(standing),
            verdict: verdict_text(verdict).to_owned(),
            text,
            is_about_newest: about == release,
        });
    }
    Ok(ProposalInfo {
        reference: format!("syncra:{}", statement.proposal),
        target: resolve::text(&parts.histories, history.state.package)?,
        title,
        by: packages::person(parts, statement.by)?.short(),
        standing: standing_text(standing),
        state: state.as_str().to_owned(),
        channel,
        branch,
        release_id: release.to_string(),
        version,
        reviews: infos,
    })
}

fn place(class: RefClass, name: &RefName) -> (Option<String>, Option<String>) {
    match class {
        RefClass::Branch => (None, Some(name.to_string())),
        RefClass::Channel | RefClass::Tag => (Some(name.to_string()), None),
    }
}

/// Proposals that wait for somebody who may write to the package, on this device.
pub(super) fn waiting(parts: &Parts) -> Result<usize, Problem> {
    let mut n = 0;
    let packages: BTreeSet<PackageId> = parts.proposals.packages().into_iter().collect();
    for package in packages {
        let Some(history) = parts.histories.package(package)? else { continue };
        if history.state.may_write(&parts.identity(), &parts.device) {
            n += propose::of(parts, &history)?.iter().filter(|found| found.state == State::Open).count();
        }
    }
    Ok(n)
}
