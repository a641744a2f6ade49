//! The mail in a mailbox that is an API.

use std::sync::Arc;
use std::time::Duration;

use latch_core::call::Call;
use latch_core::catalog::Provider;
use latch_core::lease::Epoch;
use latch_core::phone::{Anchor, Look};
use latch_core::recipe::{Answer, stop};
use serde_json::Value;

use super::place::{How, Over, Place, cut};
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::{Opened, Runtime};

/// The longest that an answer may take, all of it: while it is waited for nobody sees whether the mail is there.
const ANSWER: Duration = Duration::from_secs(45);

const SLOW: &str = "the provider did not answer in time";

/// See the module.
pub(super) struct Inbox<'a> {
    runtime: &'a Runtime,
    opened: &'a Opened,
    account: &'a Account,
    provider: &'a Provider,
    epoch: Epoch,
    every: Duration,
}

impl<'a> Inbox<'a> {
    pub(super) fn open(
        runtime: &'a Arc<Runtime>,
        opened: &'a Opened,
        account: &'a Account,
        epoch: Epoch,
    ) -> Result<Self, Over> {
        let provider = runtime.catalog.provider(&account.provider);
        let known = provider.and_then(|provider| Some((provider, stop::interval(provider)?)));
        let (provider, every) = known.ok_or_else(|| Over::Lost("this provider has no inbox".to_owned()))?;
        Ok(Self { runtime, opened, account, provider, epoch, every: Duration::from_millis(every.0) })
    }

    async fn read(&self, call: Option<Call>) -> Result<Option<Value>, Over> {
        let call = call.ok_or(Over::Rest)?;
        let read = tokio::time::timeout(ANSWER, self.runtime.read(self.account, self.epoch, call)).await;
        Ok(read.map_err(|_| Over::Lost(SLOW.to_owned()))??)
    }

    async fn change(&self, action: &str, call: Option<Call>) -> Result<Value, Over> {
        let call = call.ok_or(Over::Rest)?;
        let begun = self.runtime.begin_own(self.opened, &self.account.id, action, &call).await;
        let (lease, ending) = begun.map_err(Over::unstored)?;
        let sent = tokio::time::timeout(ANSWER, self.runtime.send(self.opened, self.account, lease, call)).await;
        let text = match &sent {
            Ok(Ok(answer)) => format!("the provider answered {}", answer.status),
            Ok(Err(Failure::Upstream(error))) if !error.sent => format!("not done: {error}"),
            Ok(Err(failure)) => format!("unknown: {failure}"),
            Err(_) => format!("unknown: {SLOW}"),
        };
        let recorded = self.runtime.end_own(self.opened, &ending, text.clone()).await;
        let Ok(sent) = sent else { return Err(Over::Lost(SLOW.to_owned())) };
        match sent {
            Err(Failure::Upstream(error)) if !error.sent => Err(Over::Unstored(cut(&text))),
            Ok(answer) if too_many(&answer) => Err(Over::Unstored(text)),
            Ok(Answer { status: 400..=499, .. }) => Err(Over::Refused(text)),
            Ok(Answer { status: 200..=299, body, .. }) => {
                recorded?;
                Ok(serde_json::from_slice(&body).unwrap_or_default())
            }
            Ok(_) | Err(_) => Err(Over::Lost(cut(&text))),
        }
    }
}

/// Whether a provider did nothing because it is asked too often, which an agent can bring about: 429, or 403 with one of Google's reasons.
fn too_many(answer: &Answer) -> bool {
    let said = |answer: &Answer| {
        let text = String::from_utf8_lossy(&answer.body);
        ["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"].iter().any(|reason| text.contains(reason))
    };
    answer.status == 429 || (answer.status == 403 && said(answer))
}

impl Place for Inbox<'_> {
    async fn find(&mut self, name: &str) -> Result<Vec<Anchor>, Over> {
        let answer = self.read(stop::find(self.provider, name)).await?.unwrap_or_default();
        Ok(stop::found(self.provider, &answer))
    }

    async fn leave(&mut self, mail: &str) -> Result<Option<Anchor>, Over> {
        let answer = self.change("phone.leave", stop::leave(self.provider, mail)).await?;
        Ok(stop::left(self.provider, &answer))
    }

    async fn look(&mut self, _: &str, anchor: &Anchor) -> Result<Look, Over> {
        let Anchor::Api { id, .. } = anchor else {
            return Err(Over::Lost("the mail is one of a mail server: switch the phone stop off and on".to_owned()));
        };
        let answer = self.read(stop::look(self.provider, id)).await?;
        let seen = stop::seen(self.provider, answer.as_ref());
        seen.ok_or_else(|| Over::Lost("the provider's answer is not about the mail".to_owned()))
    }

    async fn wait(&mut self) -> Result<(), Over> {
        tokio::time::sleep(self.every).await;
        Ok(())
    }

    async fn remove(&mut self, anchor: &Anchor) -> Result<(), Over> {
        let Anchor::Api { id, .. } = anchor else { return Err(Over::Rest) };
        self.change("phone.remove", stop::remove(self.provider, id)).await.map(|_| ())
    }

    fn how(&self) -> How {
        How::Looked(self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_requests_are_told_from_a_refusal() {
        let answer = |status, body: &str| Answer { status, headers: Vec::new(), body: body.to_owned().into() };
        assert!(too_many(&answer(429, "")));
        assert!(too_many(&answer(403, r#"{"error":{"errors":[{"reason":"userRateLimitExceeded"}]}}"#)));
        assert!(!too_many(&answer(403, r#"{"error":{"errors":[{"reason":"insufficientPermissions"}]}}"#)));
        assert!(!too_many(&answer(401, "")));
    }
}
