//! `syncra review`, `syncra close`

use super::client::Client;
use super::context::Context;
use crate::api::verbs::proposals::{
    CloseProposal, CloseRequest, ProposalInfo, Review, ReviewInfo, ReviewRequest, ReviewResponse,
};
use crate::problem::Problem;

/// Look at what was proposed to a package, and say what you think
///
/// Without an argument: the proposals that this node knows. With a package, those who have it
/// are asked too. With a proposal (its id, or the beginning of it), that one with what was
/// said about it; `syncra diff syncra:ID` shows what it changes, `syncra merge syncra:ID`
/// takes it into a checkout.
///
/// Whose word it is is shown as far as it is known: of a stranger nothing but a key is.
///
/// Examples:
///   syncra review @alice/rocket
///   syncra review k3v9x2m4q7ab --approve
///   syncra review k3v9x2m4q7ab --request-changes "the left one is upside down"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A package or a proposal
    #[arg(value_name = "PKG|PROPOSAL")]
    reference: Option<String>,
    /// Say something
    #[arg(long, value_name = "TEXT", group = "said", requires = "reference")]
    comment: Option<String>,
    /// Say that it should be merged
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "", group = "said", requires = "reference")]
    approve: Option<String>,
    /// Say what should change first
    #[arg(long, value_name = "TEXT", group = "said", requires = "reference")]
    request_changes: Option<String>,
    /// Say nothing yet
    #[arg(long, requires = "said")]
    dry_run: bool,
}

/// Close a proposal
///
/// Your own is taken back; one to a package that you write to is turned down. What is merged
/// needs no closing: it is seen from the package's history.
///
/// Examples:
///   syncra close k3v9x2m4q7ab
///   syncra close k3v9x2m4q7ab --reason "done otherwise in 1.4.0"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CloseArgs {
    /// The proposal
    #[arg(value_name = "PROPOSAL")]
    reference: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let said = [("comment", self.comment), ("approve", self.approve), ("request_changes", self.request_changes)];
        let said = said.into_iter().find_map(|(verdict, text)| Some((verdict.to_owned(), text?)));
        let (verdict, text) = said.unzip();
        let (reference, dry_run) = (self.reference, self.dry_run);
        let request = ReviewRequest { reference, verdict, text, dry_run, offline, timeout_s };
        let found = client.call::<Review>(context, request).await?;
        context.ui().data("review", &found, human)
    }
}

impl CloseArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (offline, timeout_s) = (context.offline(), Some(context.timeout().as_secs()));
        let (reference, reason, dry_run) = (self.reference, self.reason, self.dry_run);
        let request = CloseRequest { reference, reason, dry_run, offline, timeout_s };
        let done = client.call::<CloseProposal>(context, request).await?;
        context.ui().data("close", &done, human)
    }
}

fn human(found: &ReviewResponse) -> String {
    if found.proposals.is_empty() {
        return "no proposals".to_owned();
    }
    found.proposals.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

fn one(proposal: &ProposalInfo) -> String {
    let who = author(&proposal.by, &proposal.standing);
    let place = super::publish::place(proposal.channel.as_deref(), proposal.branch.as_deref());
    let head = format!("{} ({}), for {}, {place}", proposal.title, proposal.state, proposal.target);
    let version = proposal.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    let mut lines = vec![head, format!("  {}{version} by {who}", proposal.reference)];
    lines.extend(proposal.reviews.iter().map(review));
    lines.join("\n")
}

fn review(review: &ReviewInfo) -> String {
    let verdict = match review.verdict.as_str() {
        "approve" => "approves",
        "request_changes" => "requests changes",
        "close" => "closes it",
        _ => "says",
    };
    let about = if review.is_about_newest { "" } else { " (about an earlier release)" };
    let words =
        if review.text.is_empty() { String::new() } else { format!(": {}", review.text.replace('\n', "\n    ")) };
    format!("  {} {verdict}{about}{words}", author(&review.by, &review.standing))
}

fn author(by: &str, standing: &str) -> String {
    match standing {
        "own" => format!("{by} (you)"),
        "stranger" => format!("{by} (a stranger)"),
        _ => by.to_owned(),
    }
}
