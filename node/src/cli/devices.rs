//! `syncra devices`

use clap::Subcommand;

use super::client::Client;
use super::context::Context;
use crate::api::types::Empty;
use crate::api::verbs::devices::{
    AddDevice, AddDeviceRequest, DeviceInfo, DeviceResponse, Devices, DevicesResponse, GoesOn, NameDevicePackage,
    NamePackageRequest, SuspendDevice, SuspendDeviceRequest,
};
use crate::problem::Problem;

/// List the devices of your identity; add or suspend one
///
/// Every device signs with a key of its own and publishes without asking the others. A manager
/// may add and suspend devices; a publisher may publish.
///
/// Examples:
///   syncra devices
///   syncra devices add KEY --label laptop
///   syncra devices suspend laptop --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(AddArgs),
    Suspend(SuspendArgs),
    Name(NameArgs),
}

/// Let a further device speak for you
///
/// `syncra id` shows its key there. It counts once it has joined, which `syncra pair` does
/// together with this.
///
/// Examples:
///   syncra devices add KEY --label build-server --role publisher
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct AddArgs {
    /// The device's key
    #[arg(value_name = "KEY")]
    device: String,
    /// What to call it
    #[arg(long, value_name = "NAME")]
    label: String,
    /// What it may do: manager or publisher
    #[arg(long, value_name = "ROLE", default_value = "manager")]
    role: String,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// Take a device's voice away
///
/// What it wrote so far stays, and nothing that it writes from now on counts for anybody who
/// hears of this. Only the recovery key gives the voice back, or takes it for ever:
/// `syncra id recover --lift` and `--revoke`.
///
/// Examples:
///   syncra devices suspend laptop --yes
///   syncra devices suspend laptop --before @alice/rocket@6.6.6 --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct SuspendArgs {
    /// Its label or key, or the first characters of the key
    #[arg(value_name = "DEVICE")]
    device: String,
    /// A release of it that shall not count, nor what it wrote in that package later
    #[arg(long, value_name = "PKG@VERSION")]
    before: Vec<String>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

/// Say which package a name means
///
/// For names that two devices gave to two packages, and to call a package by another name.
///
/// Examples:
///   syncra devices name rocket syncra:PACKAGE
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct NameArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The package's id
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        match self.verb {
            None => list(context).await,
            Some(Verb::Add(args)) => args.run(context).await,
            Some(Verb::Suspend(args)) => args.run(context).await,
            Some(Verb::Name(args)) => args.run(context).await,
        }
    }
}

async fn list(context: &Context) -> Result<(), Problem> {
    let client = Client::open(context).await?;
    let found = client.call::<Devices>(context, Empty {}).await?;
    context.ui().data("devices", &found, |found: &DevicesResponse| {
        let line = |device: &DeviceInfo| {
            let label = device.label.as_deref().unwrap_or("(first)");
            let this = if device.this { "  this device" } else { "" };
            format!("{}  {label:16}  {:9}  {}{this}", device.device, device.role, device.status)
        };
        found.devices.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

impl AddArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { device, label, role, dry_run } = self;
        let done = client.call::<AddDevice>(context, AddDeviceRequest { device, label, role, dry_run }).await?;
        context.ui().data("devices-add", &done, |done: &DeviceResponse| {
            let did = match (done.already, done.dry_run) {
                (true, _) => "was a device before",
                (false, true) => "would add",
                (false, false) => "added",
            };
            format!("{did}: {}", done.device)
        })
    }
}

/// Of a forked log a cut says which history goes on: the one that is here, which may be the thief's.
pub(super) fn warn_of_forks(context: &Context, goes_on: &[GoesOn]) {
    for GoesOn { reference, version } in goes_on {
        context.ui().warning(&format!(
            "its key has signed two histories of {reference}; the one that is here goes on, up to {version}: if that is not yours, say so with `--before {reference}@VERSION` and the first version that is not (`syncra log {reference}`)"
        ));
    }
}

impl SuspendArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        if !self.dry_run {
            let question = format!("suspend `{}`? Only the recovery key can give it back its voice", self.device);
            context.ui().confirm(&question).await?;
        }
        let client = Client::open(context).await?;
        let Self { device, before, dry_run } = self;
        let (n_before, request) = (before.len(), SuspendDeviceRequest { device, before, dry_run });
        let done = client.call::<SuspendDevice>(context, request).await?;
        for version in &done.kept {
            context.ui().warning(&format!(
                "{version} counts all the same, for another device has built on it: only the recovery key takes it back, `syncra id recover --revoke DEVICE --before PKG@{version}`"
            ));
        }
        warn_of_forks(context, &done.goes_on);
        context.ui().data("devices-suspend", &done, |done: &DeviceResponse| {
            let did = match (done.already, done.dry_run) {
                (true, _) if n_before > 0 => "had no voice before, and that does not count already",
                (true, _) => "had no voice before",
                (false, true) => "would suspend",
                (false, false) => "suspended",
            };
            format!("{did}: {}", done.device)
        })
    }
}

impl NameArgs {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let Self { name, package, dry_run } = self;
        let done = client.call::<NameDevicePackage>(context, NamePackageRequest { name, package, dry_run }).await?;
        context.ui().data("devices-name", &done, |done| {
            let did = match (done.already, done.dry_run) {
                (true, _) => "means already",
                (false, true) => "would mean",
                (false, false) => "means now",
            };
            format!("`{}` {did} {}", done.name, done.package_id)
        })
    }
}
