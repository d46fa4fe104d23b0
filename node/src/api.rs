//! The API: one [`Service`], several doors.
//!
//! Every verb is a [`Verb`]: typed request and answer, a path, a scope, and the work. From that one table (`routes`)
//! come the HTTP routes, what each token may do, the OpenAPI document, the client, and the in-process call that the
//! command line makes when no node runs.
//!
//! | file | what |
//! |---|---|
//! | [`verb`] | the trait and the table |
//! | [`verbs`] | one file for each family of verbs |
//! | [`service`] | what verbs work on |
//! | [`token`], `guard` | scopes and tokens at rest, checks before routing |
//! | `answer`, `stream`, `socket`, `openapi` | JSON and problems, NDJSON and SSE, WebSocket, the generated document |
//! | [`doors`], [`client`] | Unix socket and loopback TCP, both sides |
//! | [`gateway`] | the public, read-only listener: logs for foreign tools |
//! | `listener` | connections of both, bounded |

mod answer;
pub mod client;
pub mod doors;
pub mod gateway;
mod guard;
mod listener;
mod openapi;
pub mod service;
mod settings;
mod socket;
mod stream;
pub mod token;
pub mod types;
pub mod verb;
pub mod verbs;

pub use client::Client;
pub use service::Service;
pub use token::Scope;
pub use verb::Verb;

#[cfg(test)]
mod tests;
