//! `syncra pair`

use std::io::{self, Write as _};

use syncra_protocol::link::{Invitation, InvitationError};

use super::client::Client;
use super::context::Context;
use super::ui::qr;
use crate::api::types::Empty;
use crate::api::verbs::pair::{
    AwaitPairing, AwaitPairingRequest, CandidateResponse, DecidePairing, DecidePairingRequest, JoinPairing,
    JoinPairingRequest, OfferPairing,
};
use crate::problem::{Code, Problem};

/// Make another device one of yours, or this one another's
///
/// Without a code: shows one, waits, and asks what the other device may do. With the code that
/// another device shows: makes this device one of that identity's. Devices find each other on
/// the local network, or through whoever both are connected to; else say where by `--at`. A code
/// is good for ten minutes and three guesses. `--qr` draws code and addresses for a device with a
/// camera; what it reads is given instead of the code.
///
/// Examples:
///   syncra pair
///   syncra pair --qr
///   syncra pair 4821-k3v7-x2m4 --label laptop
///   syncra pair 4821-k3v7-x2m4 --at /ip4/192.0.2.7/tcp/4001
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The code that the other device shows, or what its QR code says
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// What to call the device that joins; by default its system, e.g. `linux`
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Where the other device is
    #[arg(long, value_name = "MULTIADDR", requires = "code")]
    at: Option<String>,
    /// What the other device may do, without being asked: manager or publisher
    #[arg(long, value_name = "ROLE", conflicts_with = "code")]
    role: Option<String>,
    /// Draw a QR code of the code and where this device is
    #[arg(long, conflicts_with = "code")]
    qr: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        match self.code.clone() {
            Some(code) => self.join(context, code).await,
            None => self.offer(context).await,
        }
    }

    async fn offer(self, context: &Context) -> Result<(), Problem> {
        let ui = context.ui();
        let can_decide = self.role.is_some() || ui.has_terminal();
        if !can_decide {
            let problem = Problem::new(Code::NotConfirmed, "nobody can be asked what the other device may do");
            return Err(problem.with_hint("say it by `--role manager` or `--role publisher`"));
        }
        let client = Client::open(context).await?;
        let offer = client.call::<OfferPairing>(context, Empty {}).await?;
        let code = offer.code.clone();
        ui.announce("pair", &offer, &format!("on the other device: syncra pair {code}"));
        if let Some(address) = offer.addresses.first() {
            ui.note(&format!("if it is on another network, add: --at {address}"));
        }
        let request = AwaitPairingRequest { code: code.clone(), timeout_s: None };
        if self.qr {
            let addresses = offer.addresses.iter().filter_map(|address| address.parse().ok());
            let invitation = Invitation::new(&code, addresses);
            let invitation = invitation.map_err(|error| Problem::from_error(Code::Bug, &error))?.to_string();
            ui.note(&format!("or: syncra pair '{invitation}'\n{}", qr::drawn(&invitation)?));
        }
        let candidate = client.call::<AwaitPairing>(context, request).await?;
        let role = match &self.role {
            Some(role) => Some(role.clone()),
            None => ask(&candidate).await?,
        };
        let declined = role.is_none();
        let request = DecidePairingRequest { code, device: candidate.device.clone(), role, label: self.label };
        client.call::<DecidePairing>(context, request).await?;
        if declined {
            return Err(Problem::new(Code::Interrupted, "declined: the device was not added"));
        }
        ui.data("pair", &candidate, |candidate: &CandidateResponse| {
            format!("added: {}  `{}`", candidate.device, candidate.label)
        })
    }

    async fn join(self, context: &Context, code: String) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let (code, mut addresses) = match Invitation::is_meant(&code) {
            true => {
                let wrong = |error: InvitationError| Problem::from_error(Code::BadArgument, &error);
                let invitation = Invitation::parse(&code).map_err(wrong)?;
                let addresses = invitation.addresses().iter().map(ToString::to_string).collect();
                (invitation.code().to_owned(), addresses)
            }
            false => (code, Vec::new()),
        };
        addresses.extend(self.at);
        let label = self.label.unwrap_or_else(system_label);
        let request = JoinPairingRequest { code, label, addresses, timeout_s: Some(context.timeout().as_secs()) };
        let joined = client.call::<JoinPairing>(context, request).await?;
        if joined.n_missing > 0 {
            context.ui().note(&format!("the history of {} packages is not here yet", joined.n_missing));
        }
        context.ui().data("pair", &joined, |joined| {
            format!("this is a device of {} now: {}", joined.ref_prefix.trim_end_matches('/'), joined.role)
        })
    }
}

/// One question: whether, and as what.
async fn ask(candidate: &CandidateResponse) -> Result<Option<String>, Problem> {
    let question = format!(
        "`{}` ({}…) wants to be one of your devices. As [m]anager, [p]ublisher, or [N]ot at all? ",
        candidate.label,
        candidate.device.get(..12).unwrap_or_default()
    );
    let line = tokio::task::spawn_blocking(move || {
        write!(io::stderr(), "{question}")?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = line.await.map_err(|error| Problem::from_error(Code::Bug, &error))?;
    Ok(match line.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "m" | "manager" => Some("manager".to_owned()),
        "p" | "publisher" => Some("publisher".to_owned()),
        _ => None,
    })
}

/// What a device is called whose person said nothing.
fn system_label() -> String {
    std::env::consts::OS.to_owned()
}
