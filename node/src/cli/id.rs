//! `syncra id`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::devices::{Recover, RecoverRequest, RecoverResponse};
use crate::api::verbs::identity::{
    Adopt, AdoptRequest, IdentityResponse, Recovery, RecoveryRequest, SetHandle, SetHandleRequest, ShowIdentity,
};
use crate::flow::backup::{self, Restored};
use crate::flow::identity::DAMAGED_RECOVERY;
use crate::flow::own;
use crate::home::Layout;
use crate::problem::{Code, Problem};

/// Show who this device is; recovery, backup
///
/// An identity was made at the first start. `--handle` claims what it would like to be
/// called; others may claim the same, so references carry the identity's key too.
///
/// Examples:
///   syncra id
///   syncra id --handle alice
///   syncra id recovery
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// Claim this handle
    #[arg(long)]
    handle: Option<String>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Recovery(RecoveryArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Adopt(AdoptArgs),
    Recover(RecoverArgs),
    Rotate(RotateArgs),
}

/// Show the recovery secret; delete it from this device
///
/// Whoever has it can take the identity back when all devices are lost. Write it down and
/// keep it away from this device, then say so by `--forget`, which deletes it here. If its
/// file is damaged (exit 1), or gone although nobody said so (exit 3), that is told.
///
/// Examples:
///   syncra id recovery
///   syncra id recovery --forget
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RecoveryArgs {
    /// It is written down: delete it from this device
    #[arg(long)]
    forget: bool,
}

/// Write a sealed backup of this device's key and journal
///
/// It replaces this device when it is lost; it is not for a second one. Recovery secrets that
/// lie here are in it, also those of identities that this device has left. Content is not,
/// `syncra export` takes that along. The passphrase is asked for, or read from the
/// file that SYNCRA_PASSPHRASE_FILE names.
///
/// Examples:
///   syncra id backup /media/stick/me.backup
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct BackupArgs {
    /// The file, which must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Make this device the one of a backup
///
/// Needs a new home. The lost device must never be used again: two devices with one key
/// would sign two histories, and everybody would refuse both.
///
/// Examples:
///   syncra id restore /media/stick/me.backup --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Say that this home, a copy, is the only one left
///
/// A home that was copied, restored or moved to another disk signs nothing until then. If
/// the other copy is used again after this, two histories are signed, and everybody
/// refuses both.
///
/// What this device has signed since the copy or the backup was made is with others: whoever
/// is connected, or is found, is asked first, and it is taken in. Without a running node a
/// short-lived one looks for neighbours. If nobody has one of the device's packages, nothing
/// changes (exit 6); `--offline` asks nobody: say so only if the device has signed nothing
/// since, or nobody has it any more.
///
/// Examples:
///   syncra id adopt --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct AdoptArgs {
    /// Only look whether there is anything to adopt
    #[arg(long)]
    dry_run: bool,
}

/// Speak with the recovery key: bring the identity to this device, revoke others
///
/// On a device that is not one of the identity's it becomes one. The recovery secret is read
/// from the file that SYNCRA_RECOVERY_FILE names, or it is the one that still lies on this
/// device, or it is asked for. The identity's history must be here: any package of it brings
/// it along.
///
/// Examples:
///   syncra id recover --revoke laptop --yes
///   syncra id recover --lift --yes
///   syncra id recover @alice~k3v9x2m4q7ab --label new-laptop --revoke KEY --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RecoverArgs {
    /// The identity, by default this device's: `@handle~key` or its whole id
    #[arg(value_name = "IDENTITY")]
    identity: Option<String>,
    /// A device that shall never speak again: its label, its key, or the key's first characters
    #[arg(long, value_name = "DEVICE")]
    revoke: Vec<String>,
    /// A release of it that shall not count, nor what it wrote in that package later
    #[arg(long, value_name = "PKG@VERSION", requires = "revoke")]
    before: Vec<String>,
    /// Give suspended devices their voice back
    #[arg(long)]
    lift: bool,
    /// What to call this device, if it is to be added
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// Replace the recovery key
///
/// The old one says nothing any more. The new one lies on this device until you have written
/// it down: `syncra id recovery`.
///
/// Examples:
///   syncra id rotate --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RotateArgs {
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// What a backup or a restore did.
#[derive(Debug, Serialize)]
struct Sealed {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Packages whose history is not in the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_missing: Option<usize>,
}

/// What a restored home has not, and what brings that back.
fn missing(restored: &Restored) -> Option<String> {
    let missing = match restored.n_missing {
        0 if restored.n_own == 0 => return None,
        0 => "the files of your releases".to_owned(),
        n => format!("all files, and what others wrote to {}", text::count(n as u64, "package")),
    };
    Some(format!("not in a backup, and so not here: {missing}; {}", own::COMES_BACK))
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        match self.verb {
            Some(Verb::Recovery(args)) => args.run(context).await,
            Some(Verb::Backup(args)) => args.run(context).await,
            Some(Verb::Restore(args)) => args.run(context).await,
            Some(Verb::Adopt(args)) => args.run(context).await,
            Some(Verb::Recover(args)) => args.run(context).await,
            Some(Verb::Rotate(args)) => args.run(context).await,
            None => show(context, self.handle, self.dry_run).await,
        }
    }
}

async fn show(context: &Context, handle: Option<String>, dry_run: bool) -> Result<(), Problem> {
    let client = Client::open(context).await?;
    let found = match handle {
        Some(handle) => client.call::<SetHandle>(context, SetHandleRequest { handle, dry_run }).await?,
        None => client.call::<ShowIdentity>(context, Empty {}).await?,
    };
    context.ui().data("id", &found, |found: &IdentityResponse| {
        let handle = found.handle.clone().unwrap_or_default();
        let hint = match found.recovery.as_str() {
            "unsaved" => " (write it down: `syncra id recovery`)",
            "missing" => " (not on this device, and nobody has said that it is saved: `syncra id recovery`)",
            "elsewhere" => " (not on this device)",
            _ => "",
        };
        let mut lines: Vec<String> = text::silenced(&found.status, found.silenced.as_deref()).into_iter().collect();
        lines.push(format!("identity: {}", found.identity));
        lines.push(format!("handle:   {handle}"));
        lines.push(format!("packages: {}…", found.ref_prefix));
        lines.push(format!("device:   {}", found.device));
        lines.push(format!("recovery: {}{hint}", found.recovery));
        lines.join("\n")
    })?;
    match found.recovery_damage {
        None => Ok(()),
        // Nobody who looks shall go on in the belief that it is safe.
        Some(damage) => Err(Problem::new(Code::HomeDamaged, damage).with_hint(DAMAGED_RECOVERY)),
    }
}

impl RecoveryArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        if self.forget {
            context.ui().confirm("delete the recovery secret from this device? Is it written down?").await?;
        }
        let client = Client::open(context).await?;
        let told = client.call::<Recovery>(context, RecoveryRequest { forget: self.forget }).await?;
        match (&told.recovery, told.forgotten) {
            (None, _) if self.forget => {
                context.ui().note("it is not on this device any more; noted that you have it written down");
            }
            (None, _) => {
                context.ui().note("the recovery secret was deleted from this device, as you have it written down")
            }
            (Some(_), true) => context.ui().note("deleted from this device; this is the last time it is shown"),
            (Some(_), false) => context.ui().note("write this down, then `syncra id recovery --forget`"),
        }
        context.ui().data("id-recovery", &told, |told| told.recovery.clone().unwrap_or_default())
    }
}

impl BackupArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        let layout = Layout::new(&context.home()?);
        if !layout.device_key().exists() {
            return Err(Problem::new(Code::NotFound, format!("the home `{}` has no key yet", layout.root().display())));
        }
        let passphrase = passphrase(context, true).await?;
        let file = self.file.clone();
        let work = move || backup::backup(&layout, &file, &passphrase);
        let bytes = blocking(work).await??;
        let file = self.file.display().to_string();
        let done = Sealed { file, bytes: Some(bytes), device: None, n_missing: None };
        context.ui().data("id-backup", &done, |done| format!("wrote {}", done.file))
    }
}

impl RestoreArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        let root = context.home()?;
        context.ui().confirm("make this device the one of the backup? The old one must never be used again").await?;
        let passphrase = passphrase(context, false).await?;
        let restored = backup::restore(&root, &self.file, &passphrase).await?;
        if let Some(missing) = missing(&restored) {
            context.ui().note(&missing);
        }
        context.ui().note(
            "nothing is signed here before `syncra id adopt`, which asks others for what this device has signed since the backup",
        );
        let device = Some(restored.device.to_string());
        let file = self.file.display().to_string();
        let done = Sealed { file, bytes: None, device, n_missing: Some(restored.n_missing) };
        context.ui().data("id-restore", &done, |done| format!("restored {}", done.device.clone().unwrap_or_default()))
    }
}

impl AdoptArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        if !self.dry_run {
            let signed_nothing = if context.offline() { ", and has its device signed nothing since" } else { "" };
            let question = format!("is this the only copy of the home that will ever be used again{signed_nothing}?");
            context.ui().confirm(&question).await?;
        }
        let client = Client::open_as_it_is(context).await?;
        let done =
            client.call::<Adopt>(context, AdoptRequest { dry_run: self.dry_run, offline: context.offline() }).await?;
        if !done.silent.is_empty() {
            context.ui().note(&format!(
                "of those who were asked {} gave no answer; whether they have more of what this device signed is not known",
                done.silent.join(", ")
            ));
        }
        context.ui().data("id-adopt", &done, |done| {
            let did = match (done.already, self.dry_run) {
                (true, _) => "the home is where it belongs",
                (false, true) => "the home would be adopted",
                (false, false) => "adopted: this home signs again",
            };
            did.to_owned()
        })
    }
}

impl RecoverArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        if !self.dry_run {
            let revoked = self.revoke.join(", ");
            let question = match self.revoke.is_empty() {
                true => "speak with the recovery key?".to_owned(),
                false => format!("revoke {revoked}? Nobody can take that back"),
            };
            context.ui().confirm(&question).await?;
        }
        let Self { identity, revoke, before, lift, label, dry_run } = self;
        let is_other = identity.is_some();
        let request = RecoverRequest { identity, secret: None, revoke, before, lift, rotate: false, label, dry_run };
        say(context, "id-recover", request, is_other).await
    }
}

impl RotateArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        if !self.dry_run {
            context.ui().confirm("replace the recovery key? The old one will say nothing any more").await?;
        }
        let request = RecoverRequest {
            identity: None,
            secret: None,
            revoke: Vec::new(),
            before: Vec::new(),
            lift: false,
            rotate: true,
            label: None,
            dry_run: self.dry_run,
        };
        say(context, "id-rotate", request, false).await
    }
}

/// Lets the recovery key speak.
async fn say(context: &Context, verb: &str, request: RecoverRequest, is_other: bool) -> Result<(), Problem> {
    let client = Client::open(context).await?;
    let secret = recovery_secret(context, &client, is_other).await?;
    let request = RecoverRequest { secret: secret.map(|secret| secret.to_string()), ..request };
    let done = client.call::<Recover>(context, request).await?;
    super::devices::warn_of_forks(context, &done.goes_on);
    context.ui().data(verb, &done, |done: &RecoverResponse| {
        let mut lines = vec![format!("identity: {}", done.identity)];
        let would = if done.dry_run { "would be " } else { "" };
        if done.admitted {
            lines.push(format!("this device {would}added"));
        }
        lines.extend(done.revoked.iter().map(|device| format!("{would}revoked: {device}")));
        if done.n_lifted > 0 {
            lines.push(format!("suspensions {would}ended: {}", done.n_lifted));
        }
        if done.rotated {
            lines.push(format!("the recovery key {would}replaced: write the new one down, `syncra id recovery`"));
        }
        lines.join("\n")
    })
}

/// The recovery secret from the file that the environment names, or from the terminal; none if the one in the home is
/// to be used: what lies there may be that of an identity which this device has left, or one that was replaced elsewhere.
async fn recovery_secret(
    context: &Context,
    client: &Client,
    is_other: bool,
) -> Result<Option<Zeroizing<String>>, Problem> {
    if let Some(file) = std::env::var_os("SYNCRA_RECOVERY_FILE").filter(|file| !file.is_empty()) {
        return from_file(Path::new(&file)).map(Some);
    }
    if !is_other && client.call::<ShowIdentity>(context, Empty {}).await?.recovery == "unsaved" {
        return Ok(None);
    }
    if !context.ui().has_terminal() {
        let problem = Problem::new(Code::NotConfirmed, "the recovery secret cannot be asked for without a terminal");
        return Err(problem.with_hint("put it into a file and name that in SYNCRA_RECOVERY_FILE"));
    }
    context.ui().secret("Recovery secret: ").await.map(Some)
}

/// From the file that the environment names, else from the terminal, where it is not shown.
async fn passphrase(context: &Context, twice: bool) -> Result<Zeroizing<String>, Problem> {
    if let Some(file) = std::env::var_os("SYNCRA_PASSPHRASE_FILE").filter(|file| !file.is_empty()) {
        return from_file(Path::new(&file));
    }
    if !context.ui().has_terminal() {
        let problem = Problem::new(Code::NotConfirmed, "the passphrase cannot be asked for without a terminal");
        return Err(problem.with_hint("put it into a file and name that in SYNCRA_PASSPHRASE_FILE"));
    }
    let first = context.ui().secret("Passphrase: ").await?;
    if twice && *context.ui().secret("Again: ").await? != *first {
        return Err(Problem::new(Code::BadArgument, "the passphrases differ"));
    }
    Ok(first)
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Problem> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| Problem::io(format!("cannot read `{}`", path.display()), &error))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| Problem::from_error(Code::Bug, &panic))
}
