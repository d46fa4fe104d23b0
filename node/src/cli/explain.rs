//! `syncra explain`

use serde::Serialize;

use super::context::Context;
use crate::problem::{Code, Kind, Problem};

/// Explain an error code
///
/// Examples:
///   syncra explain E0702
///   syncra explain --json e0401
///   syncra explain                list all codes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The code, as an error shows it; all codes if it is left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// One row of the error table.
#[derive(Serialize)]
struct Row {
    code: &'static str,
    name: &'static str,
    kind: Kind,
    exit_code: u8,
    retryable: bool,
    meaning: &'static str,
    hint: Option<&'static str>,
}

impl From<Code> for Row {
    fn from(code: Code) -> Self {
        Self {
            code: code.number(),
            name: code.name(),
            kind: code.kind(),
            exit_code: code.kind().exit_code(),
            retryable: code.retryable(),
            meaning: code.doc(),
            hint: Some(code.hint()).filter(|hint| !hint.is_empty()),
        }
    }
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<(), Problem> {
        let Some(text) = self.code else {
            let rows: Vec<Row> = Code::ALL.iter().copied().map(Row::from).collect();
            return context.ui().data("explain", &rows, |rows| {
                let line = |row: &Row| format!("{}  exit {:<3}  {}", row.code, row.exit_code, row.meaning);
                rows.iter().map(line).collect::<Vec<_>>().join("\n")
            });
        };
        let code = Code::parse(&text).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("there is no error code `{text}`"))
                .with_hint("`syncra explain` lists all codes")
        })?;
        context.ui().data("explain", &Row::from(code), |row| {
            let retry = if row.retryable { "the same call may work later" } else { "trying again alone will not help" };
            let hint = row.hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{} ({}): {}\nexit code {}; {retry}{hint}", row.code, row.name, row.meaning, row.exit_code)
        })
    }
}
