//! `syncra role`, `syncra endorse` and `syncra transfer`

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::verbs::packages::{OwnerInfo, PackageRequest};
use crate::api::verbs::roles::{
    EndorseChange, EndorseRequest, ListRoles, NeedsInfo, OpenInfo, RoleInfo, RolesResponse, SaidResponse, SetRoles,
    SetRolesRequest, WantedRole,
};
use crate::problem::Problem;

/// Show who may do what in a package, or change it
///
/// An owner changes roles, a maintainer publishes, moves refs and yanks, a contributor publishes
/// onto branches (`syncra publish --branch`). A change takes effect when more than half of the
/// owners agree, as they are and as they will be: a second owner has to. Without a person this lists roles and what
/// waits for whom; `syncra endorse` agrees.
///
/// Who loses a role keeps what is known of it here; `--before` takes a release back, too.
/// A protected ref moves only when enough owners agree.
///
/// Examples:
///   syncra role @alice/rocket
///   syncra role @alice/rocket @bob~k3v9x2m4q7ab maintainer
///   syncra role @alice/rocket @bob~k3v9x2m4q7ab none --before @alice/rocket@6.6.6 --yes
///   syncra role @alice/rocket --protect channel:stable
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// Whose role, as for `syncra trust`; `me` is you
    #[arg(value_name = "WHOM", requires = "role")]
    identity: Option<String>,
    /// owner, maintainer, contributor or none
    #[arg(value_name = "ROLE")]
    role: Option<String>,
    /// Protect a ref, for example `channel:stable`; may be given several times
    #[arg(long, value_name = "CLASS:NAME")]
    protect: Vec<String>,
    /// Protect a ref no longer
    #[arg(long, value_name = "CLASS:NAME")]
    unprotect: Vec<String>,
    /// Owners who must agree to later changes [default: more than half]
    #[arg(long, value_name = "N")]
    threshold: Option<u8>,
    /// A release of who loses the role that shall not count, nor what they published later
    #[arg(long, value_name = "PKG@VERSION", requires = "identity")]
    before: Vec<String>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// Agree to a change that waits for you
///
/// `syncra role PKG` lists the changes with their ids. Each owner agrees on a device of its own,
/// whenever it likes; nobody collects signatures. Who is to become an owner may be asked, too.
///
/// Examples:
///   syncra endorse @alice/rocket k3v9x2m4q7ab
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EndorseArgs {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// The change's id, or the first characters of it
    #[arg(value_name = "CHANGE")]
    change: String,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// Hand your ownership of a package to somebody else
///
/// In one change they become an owner and you have no role any more. It takes effect when more
/// than half of the owners agree, as they are and as they will be: of one owner the new one. Until
/// then everything stays as it is, and you may go on publishing. Its id stays, and so does everything that was published.
///
/// Examples:
///   syncra transfer @alice/rocket @bob~k3v9x2m4q7ab --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct TransferArgs {
    /// The package
    #[arg(value_name = "PKG")]
    package: String,
    /// To whom, as for `syncra trust`
    #[arg(value_name = "WHOM")]
    identity: String,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { package: reference, identity, role, protect, unprotect, threshold, before, dry_run } = self;
        let roles: Vec<_> =
            identity.zip(role).map(|(identity, role)| WantedRole { identity, role }).into_iter().collect();
        if roles.is_empty() && protect.is_empty() && unprotect.is_empty() && threshold.is_none() {
            let request = PackageRequest { reference: reference.clone() };
            let found = client.call_about::<ListRoles>(context, &reference, request).await?;
            return context.ui().data("role", &found, listed);
        }
        if let Some(WantedRole { identity, .. }) = roles.iter().find(|wanted| wanted.role == "none" && !dry_run) {
            let question = format!("take `{identity}` its role? What it writes from now on will count for nobody");
            context.ui().confirm(&question).await?;
        }
        let package = reference.clone();
        let request = SetRolesRequest { reference, roles, protect, unprotect, threshold, before, dry_run };
        let done = client.call_about::<SetRoles>(context, &package, request).await?;
        tell_lapses(context, &done);
        context.ui().data("role", &done, said)
    }
}

impl EndorseArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { package: reference, change, dry_run } = self;
        let request = EndorseRequest { reference: reference.clone(), change, dry_run };
        let done = client.call_about::<EndorseChange>(context, &reference, request).await?;
        tell_lapses(context, &done);
        context.ui().data("endorse", &done, said)
    }
}

impl TransferArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let Self { package: reference, identity, dry_run } = self;
        if !dry_run {
            let question = format!("hand `{reference}` to `{identity}`? Once they agree it is not yours any more");
            context.ui().confirm(&question).await?;
        }
        let client = Client::open(context).await?;
        let role = |identity: String, role: &str| WantedRole { identity, role: role.to_owned() };
        let roles = vec![role("me".to_owned(), "none"), role(identity, "owner")];
        let package = reference.clone();
        let request = SetRolesRequest { reference, roles, dry_run, ..SetRolesRequest::default() };
        let done = client.call_about::<SetRoles>(context, &package, request).await?;
        tell_lapses(context, &done);
        context.ui().data("transfer", &done, said)
    }
}

fn listed(found: &RolesResponse) -> String {
    let row = |known: &RoleInfo| [known.role.clone(), name(&known.who), known.who.identity.clone()];
    let rows: Vec<_> = found.roles.iter().map(row).collect();
    let mut lines = vec![text::table(["ROLE", "NAME", "IDENTITY"], &rows)];
    let (n_owners, threshold) =
        (found.roles.iter().filter(|known| known.role == "owner").count(), found.owner_threshold);
    lines.push(format!("a change needs {threshold} of {n_owners} owners"));
    lines.extend(found.protected.iter().map(|known| format!("protected: {} `{}`", known.class, known.name)));
    if let Some(rules) = found.newer_rules {
        lines.push(format!("NEWER:     owners agreed to rules of number {rules}, which this version does not know"));
    }
    lines.extend(found.open.iter().flat_map(open));
    lines.join("\n")
}

/// What waits, and for whom.
pub(super) fn open(open: &OpenInfo) -> Vec<String> {
    let short = open.change.get(..12).unwrap_or(&open.change);
    let you = if open.waits_for_you { " (you may: `syncra endorse`)" } else { "" };
    let head = format!("waits:     {short}  {} wants: {}", name(&open.by), open.says.join(", "));
    let needs = open.needs.iter().map(|needs| format!("           {}{you}", needed(needs)));
    std::iter::once(head).chain(needs).collect()
}

pub(super) fn needed(needs: &NeedsInfo) -> String {
    let of: Vec<_> = needs.of.iter().map(name).collect();
    format!("needs {} of {}", needs.n_more, of.join(", "))
}

/// Who somebody is, as short as it is not mistaken.
pub(super) fn name(who: &OwnerInfo) -> String {
    let name = who.short();
    if who.own { format!("{name} (you)") } else { name }
}

/// Says which changes cannot take effect any more once this one has: each follows the last that did.
fn tell_lapses(context: &Context, done: &SaidResponse) {
    let is_done = done.in_effect && !done.dry_run;
    for open in &done.lapses {
        let short = open.change.get(..12).unwrap_or(&open.change);
        let what = format!("{short}, by which {} wants: {}", name(&open.by), open.says.join(", "));
        context.ui().warning(&match is_done {
            true => {
                format!("this change ended another one that waited: {what}. If it is still wanted, propose it again")
            }
            false => format!("when this change takes effect, another one that waits lapses: {what}"),
        });
    }
}

fn said(done: &SaidResponse) -> String {
    let change = done.change.as_deref().map(|change| change.get(..12).unwrap_or(change)).unwrap_or_default();
    match (done.in_effect, done.already, done.dry_run) {
        (true, true, _) => "it is so already".to_owned(),
        (_, _, true) => "would say so".to_owned(),
        (true, false, _) => format!("in effect: {change}"),
        (false, already, _) => {
            let word = if already { "said before, and waits" } else { "said, and waits" };
            let needs: Vec<_> = done.needs.iter().map(needed).collect();
            format!("{word}: {change}\n{}", needs.join("\n"))
        }
    }
}
