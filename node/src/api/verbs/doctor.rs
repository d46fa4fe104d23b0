//! Is this home well?

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::doctor::{self, Check};
use crate::home::Layout;
use crate::index;
use crate::problem::Problem;
use crate::progress::Progress;

/// Checks the home of a running node.
#[derive(Debug)]
pub struct Doctor;

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
    /// Whether it is as it should be.
    pub ok: bool,
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
            ok: check.ok,
            detail: check.detail,
            fix: check.fix,
        };
        Self {
            ok: checks.iter().all(|check| check.ok),
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
    const ABOUT: &'static str = "Whether the home of the node is well, and what to do if not.";
    type Request = Empty;
    type Response = DoctorResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<DoctorResponse, Problem> {
        Ok(DoctorResponse::new(service.layout(), doctor::examine_open(service.parts()).await))
    }
}
