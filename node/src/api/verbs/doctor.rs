//! Is this home well?

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::doctor::{self, Care, Check, State};
use crate::home::Layout;
use crate::index;
use crate::problem::Problem;
use crate::progress::Progress;

/// Checks the home of a running node.
#[derive(Debug)]
pub struct Doctor;

/// How closely to look.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DoctorRequest {
    /// Do not read every blob, nor every installed file.
    pub quick: bool,
    /// Leave the network alone.
    pub offline: bool,
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorResponse {
    /// Whether all is well.
    pub ok: bool,
    /// One by one.
    pub checks: Vec<CheckInfo>,
    /// How often the index was lost and made anew in the home's life; a clean restart adds none.
    pub index_rebuilds: u64,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckInfo {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be, now.
    pub ok: bool,
    /// Whether it was not, and has been put right.
    #[serde(default)]
    pub mended: bool,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub fix: Option<String>,
}

impl DoctorResponse {
    /// The answer from what was found in the home with this layout.
    #[must_use]
    pub fn new(layout: &Layout, checks: Vec<Check>) -> Self {
        let info = |check: Check| CheckInfo {
            name: check.name.to_owned(),
            ok: check.ok(),
            mended: check.state == State::Mended,
            detail: check.detail,
            fix: check.fix,
        };
        Self {
            ok: checks.iter().all(Check::ok),
            checks: checks.into_iter().map(info).collect(),
            index_rebuilds: index::count_of_rebuilds(&layout.index_rebuilds()),
        }
    }
}

impl Verb for Doctor {
    const NAME: &'static str = "doctor";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/doctor";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str =
        "Whether the home of the node is well and its machine lets it work, and what to do if not.";
    type Request = DoctorRequest;
    type Response = DoctorResponse;

    async fn run(
        service: &Arc<Service>,
        request: DoctorRequest,
        progress: &Progress,
    ) -> Result<DoctorResponse, Problem> {
        let care = Care { repair: false, quick: request.quick, offline: request.offline };
        let checks = Box::pin(doctor::examine_open(service.parts(), care, progress)).await;
        Ok(DoctorResponse::new(service.layout(), checks))
    }
}
