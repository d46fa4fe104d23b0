//! Who does the work: the node that runs on this home, or the same service in this process.

use std::sync::Arc;

use super::context::Context;
use crate::api::client::Address;
use crate::api::verbs::find::{Find, FindRequest};
use crate::api::{self, Service, Verb};
use crate::home::Home;
use crate::journal::Provenance;
use crate::problem::{Code, Problem};
use crate::progress::{Progress, ProgressFrame};

/// Who does the work.
#[derive(Debug)]
pub(super) enum Client {
    /// A running node, over one of its doors.
    Remote(api::Client),
    /// This process, which holds the home's lock meanwhile.
    Local(Arc<Service>),
}

impl Client {
    /// The node that runs, else this process; says so if that may sign nothing.
    ///
    /// # Errors
    /// [`Code::NodeNotRunning`] when `--api` names a node that does not answer; whatever is wrong with the home.
    pub(super) async fn open(context: &Context) -> Result<Self, Problem> {
        let client = Self::open_as_it_is(context).await?;
        if let Self::Local(service) = &client
            && is_copy(service)
        {
            context.ui().warning(IS_COPY);
        }
        Ok(client)
    }

    /// The same, for verbs that look after the home themselves.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub(super) async fn open_as_it_is(context: &Context) -> Result<Self, Problem> {
        if let Some(remote) = remote(context).await? {
            return Ok(Self::Remote(remote));
        }
        let service = Service::open(Home::open(&context.home()?)?).await?;
        context.keep(service.clone());
        Ok(Self::Local(service))
    }

    /// Calls a verb and shows its progress.
    ///
    /// # Errors
    /// The verb's.
    pub(super) async fn call<V: Verb>(&self, context: &Context, request: V::Request) -> Result<V::Response, Problem> {
        let bars = context.ui().bars();
        self.hear::<V>(request, |frame| bars.show(&frame)).await
    }

    /// Calls a verb about a package. What is not known here is looked for, as `syncra get` does, before the verb is called again.
    ///
    /// # Errors
    /// The verb's; of looking, if that went wrong.
    pub(super) async fn call_about<V: Verb<Request: Clone>>(
        &self,
        context: &Context,
        reference: &str,
        request: V::Request,
    ) -> Result<V::Response, Problem> {
        let problem = match self.call::<V>(context, request.clone()).await {
            // Of a package that is known, something that is new.
            Err(problem) if matches!(problem.code, Code::PackageNotFound | Code::NotFound) => problem,
            done => return done,
        };
        if context.offline() {
            return Err(problem);
        }
        let timeout_s = Some(context.timeout().as_secs());
        match self.call::<Find>(context, FindRequest { reference: reference.to_owned(), timeout_s }).await {
            Ok(_) => self.call::<V>(context, request).await,
            // Who may only read hears what there is to read.
            Err(found) if found.code == Code::ScopeTooSmall => Err(problem),
            Err(found) => Err(found),
        }
    }

    /// Calls a verb; `on_progress` hears what it reports meanwhile.
    ///
    /// # Errors
    /// The verb's.
    pub(super) async fn hear<V: Verb>(
        &self,
        request: V::Request,
        mut on_progress: impl FnMut(ProgressFrame) + Send,
    ) -> Result<V::Response, Problem> {
        let service = match self {
            Self::Remote(client) => return client.call::<V>(&request, on_progress).await,
            Self::Local(service) => service,
        };
        let (progress, mut reader) = Progress::watched();
        let mut work = std::pin::pin!(service.run::<V>(request, &progress));
        loop {
            tokio::select! {
                biased;
                Some(frame) = reader.recv() => on_progress(frame),
                result = &mut work => return result,
            }
        }
    }
}

/// What the user of a home should know that was copied, restored or moved.
pub(super) const IS_COPY: &str = "this home was copied, restored or moved here, so nothing is signed: if no other copy will ever be used again, \
                                  say so by `syncra id adopt`";

/// Whether a home was copied or moved, and not adopted yet. What cannot be told here is told where something is signed.
pub(super) fn is_copy(service: &Service) -> bool {
    matches!(service.parts().provenance(), Ok(Provenance::Copied))
}

/// The running node, for verbs that mean nothing without one.
///
/// # Errors
/// [`Code::NodeNotRunning`].
pub(super) async fn running(context: &Context) -> Result<api::Client, Problem> {
    let home = context.home()?;
    remote(context)
        .await?
        .ok_or_else(|| Problem::new(Code::NodeNotRunning, format!("no node runs on the home `{}`", home.display())))
}

/// The running node, if there is one.
///
/// # Errors
/// [`Code::BadArgument`] when `--api` is none.
pub(super) async fn remote(context: &Context) -> Result<Option<api::Client>, Problem> {
    let Some(address) = context.api() else { return Ok(api::Client::find(&context.home()?).await) };
    let token = std::env::var("SYNCRA_TOKEN").ok().filter(|token| !token.is_empty());
    Ok(Some(api::Client::new(Address::parse(address)?, token)))
}
