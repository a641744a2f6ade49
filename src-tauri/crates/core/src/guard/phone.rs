//! The mails whose leaving stops everything: no agent's operation reaches them.

use super::{Guard, Stopped};
use crate::call::{Call, Digest};
use crate::lease::Epoch;
use crate::operation::{Class, Objects, Request};
use crate::phone::Anchor;
use crate::plan::Plan;

/// What an agent is told that names the mail.
pub(super) const NO_SUCH: &str = "There is no such message.";

impl Guard {
    /// Which mail of an account stops everything; `None`: none of them any more.
    pub fn set_stop_mail(&mut self, account: &str, anchor: Option<Anchor>) {
        match anchor {
            Some(anchor) => {
                self.stop_mails.insert(account.to_owned(), anchor);
            }
            None => {
                self.stop_mails.remove(account);
            }
        }
    }

    /// Which mail of an account stops everything.
    #[must_use]
    pub fn stop_mail(&self, account: &str) -> Option<&Anchor> {
        self.stop_mails.get(account)
    }

    /// Whether a request names the mail that stops everything. Such a request has no way upstream, whatever it would do.
    #[must_use]
    pub fn names_stop_mail(&self, account: &str, request: &Request) -> bool {
        let Some(anchor) = self.stop_mails.get(account) else { return false };
        request.parts.iter().any(|part| match &part.operation.objects {
            Objects::None => false,
            Objects::Listed { ids, .. } | Objects::Within { ids, .. } => ids.iter().any(|id| anchor.is(id)),
        })
    }

    /// The epoch under which the guard looks after its own mail; none while everything is stopped (I3). Between the moment when the gate is raised and the one when
    /// the panic is taken in, the two epochs differ.
    pub fn watch_epoch(&self) -> Result<Epoch, Stopped> {
        let epoch = Epoch(self.state.epoch);
        if self.state.panicked.is_some() || !self.gate.admits(epoch) { Err(Stopped) } else { Ok(epoch) }
    }

    /// A plan for leaving or removing the guard's own mail. Not while everything is stopped.
    pub fn begin_own(&self, account: &str, action: &str, calls: &[Call]) -> Result<Plan, Stopped> {
        Ok(Plan {
            agent: None,
            account: account.to_owned(),
            action: action.to_owned(),
            class: Class::Modify,
            count: 1,
            digest: Digest::of(&[b"own", account.as_bytes(), action.as_bytes()]),
            epoch: self.watch_epoch()?,
            hold: None,
            charges: Vec::new(),
            undo: false,
            calls: Plan::digests(calls),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grant::Preset;
    use crate::guard::decide::tests::{LABEL, NOW, held};
    use crate::guard::{Ruling, Verdict};

    fn anchor(id: &str) -> Anchor {
        Anchor::Api { id: id.to_owned(), thread: None }
    }

    fn allow() -> Verdict {
        Verdict::Allow { objects: None, scope: crate::guard::Scope::Once, forever: false, retyped_count: None }
    }

    #[test]
    fn what_was_allowed_before_does_not_reach_the_mail_either() {
        for (mail, runs) in [("a", false), ("z", true)] {
            let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
            guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), crate::recipe::View::default())).into());
            let account = guard.hold(&id).unwrap().account.clone();
            guard.set_stop_mail(&account, Some(anchor(mail)));
            guard.decide(&id, &digest, allow(), "dialog", NOW).unwrap();
            assert_eq!(guard.take_allowed(&id, NOW).is_some(), runs, "{mail}");
        }
    }

    #[test]
    fn its_own_work_rests_while_everything_is_stopped() {
        let (mut guard, _, _) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
        let epoch = guard.watch_epoch().unwrap();
        assert!(guard.begin_own("mail", "phone.stop", &[]).is_ok());
        guard.gate().raise();
        assert!(guard.watch_epoch().is_err(), "from the first moment on");
        guard.handle_panic("test", NOW);
        assert!(guard.watch_epoch().is_err());
        assert!(guard.begin_own("mail", "phone.stop", &[]).is_err());
        guard.resume(None, Preset::ReadOnly, NOW);
        assert!(guard.watch_epoch().unwrap() > epoch);
    }

    #[test]
    fn a_request_that_names_it_is_refused_whatever_it_would_do() {
        let (mut guard, id, _) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
        let (request, account) = guard.hold(&id).map(|hold| (hold.request.clone(), hold.account.clone())).unwrap();
        guard.set_stop_mail(&account, Some(anchor("b")));
        assert!(guard.names_stop_mail(&account, &request));
        assert!(!guard.names_stop_mail("other", &request));
        let session = guard.authenticate(&Digest::of(&[b"token"]), NOW).unwrap();
        let ruling = guard.handle_request(&session, &account, &request, crate::guard::Context::default(), NOW);
        assert!(matches!(ruling, Ruling::Forbid { why, .. } if why == NO_SUCH));
        guard.set_stop_mail(&account, None);
        assert!(!guard.names_stop_mail(&account, &request));
    }
}
