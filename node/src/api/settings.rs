//! Settings that a running node takes over: those of witnesses and policy, from the verbs that change them and from a file
//! that was changed by hand.

use std::sync::Arc;
use std::time::Duration;

use super::Service;
use crate::config::Config;
use crate::event::Event;
use crate::problem::Problem;

/// How often the file is read again: what somebody wrote there counts soon, and an idle node reads some hundred bytes.
const READ_EVERY: Duration = Duration::from_secs(5);

impl Service {
    /// Takes over what a running node can of these settings, and says which are different from now on.
    pub(super) fn take_over(&self, config: &Config) -> Vec<&'static str> {
        let changed = self.parts().witnesses.take_over(config);
        if !changed.is_empty() {
            tracing::info!(?changed, "settings were taken over");
            // What witnesses have seen decides about forked logs.
            self.parts().histories.reconsider_all();
        }
        changed
    }

    /// Reads the file again and again, and takes over what was changed there. Ends with whoever waits for it.
    pub async fn keep_settings(self: &Arc<Self>) {
        // What was changed since the start began is news too.
        let mut known = None::<String>;
        let mut turns = tokio::time::interval(READ_EVERY);
        loop {
            turns.tick().await;
            let before = known.clone();
            let read = self.blocking(move |service| Ok(service.look_again(before.as_deref()))).await;
            if let Ok(Some(text)) = read {
                known = Some(text);
            }
        }
    }

    /// Takes over what the file says now: whoever changed it and asks is answered by that.
    ///
    /// # Errors
    /// As [`Service::blocking`].
    pub(super) async fn settings_now(self: &Arc<Self>) -> Result<(), Problem> {
        self.blocking(|service| {
            service.look_again(None);
            Ok(())
        })
        .await
    }

    /// The text of the file if it is another one than before, whose settings count now.
    fn look_again(&self, before: Option<&str>) -> Option<String> {
        // Not while a verb has read the file and not yet written it.
        let _turn = self.config_turn();
        let text = Config::read(&self.layout().config()).ok()?;
        if before == Some(text.as_str()) {
            return None;
        }
        match Config::parse(&text) {
            Ok(config) => {
                for key in self.take_over(&config) {
                    self.emit(Event::ConfigChanged { key: key.to_owned() });
                }
            }
            Err(error) => tracing::warn!(%error, "the settings cannot be read; those of before still count"),
        }
        Some(text)
    }
}
