//! Mails that are leaving, and those that left while nobody heard of it: whoever hands the same one in again gets the same answer.

use std::collections::HashMap;
use std::time::Duration;

use latch_core::call::Digest;
use latch_core::classify::smtp::Reply;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is kept that nobody heard, as that to a held mail is.
const KEPT: Duration = Duration::from_secs(600);

/// Agent, account and bytes.
pub(super) type Mail = (String, String, Digest);
/// Where the answer to a mail arrives.
pub(super) type Coming = watch::Receiver<Option<Reply>>;

/// The mails that are leaving now, or whose answer nobody has heard.
#[derive(Debug, Default)]
pub(crate) struct Leaving(HashMap<Mail, Left>);

#[derive(Debug)]
struct Left {
    reply: Coming,
    answered: Option<Instant>,
}

impl Leaving {
    /// Where its answer will arrive; whoever gets the other end, too, is to send it.
    pub(super) fn join(&mut self, mail: &Mail) -> (Coming, Option<watch::Sender<Option<Reply>>>) {
        self.0.retain(|_, left| left.answered.is_none_or(|since| since.elapsed() < KEPT));
        if let Some(left) = self.0.get(mail) {
            return (left.reply.clone(), None);
        }
        let (done, reply) = watch::channel(None);
        self.0.insert(mail.clone(), Left { reply: reply.clone(), answered: None });
        (reply, Some(done))
    }

    /// It is over, before anybody is told: what surely did not leave may be tried again, and the answer to anything else stays until it is heard.
    pub(super) fn over(&mut self, mail: &Mail, may_go_again: bool) {
        if may_go_again {
            self.0.remove(mail);
        } else if let Some(left) = self.0.get_mut(mail) {
            left.answered = Some(Instant::now());
        }
    }

    /// Whoever handed it in first has the answer: the same again is another mail.
    pub(super) fn heard(&mut self, mail: &Mail, reply: &Coming) {
        if self.0.get(mail).is_some_and(|left| left.reply.same_channel(reply)) {
            self.0.remove(mail);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mail() -> Mail {
        ("claw".to_owned(), "mail".to_owned(), Digest([1; 32]))
    }

    #[test]
    fn an_answer_that_came_at_the_moment_its_client_left_is_there_when_it_comes_again() {
        let mut leaving = Leaving::default();
        let (first, done) = leaving.join(&mail());
        let done = done.unwrap();
        assert!(leaving.join(&mail()).1.is_none(), "it leaves once");
        // Its client still listens, but won't hear it.
        leaving.over(&mail(), false);
        done.send_replace(Some(Reply::new(250, "2.0.0", "Sent")));
        drop(first);
        let (again, done) = leaving.join(&mail());
        assert!(done.is_none() && again.borrow().as_ref().unwrap().code == 250);
    }

    #[test]
    fn what_was_heard_or_did_not_leave_is_over() {
        let mut leaving = Leaving::default();
        let (first, _done) = leaving.join(&mail());
        leaving.over(&mail(), false);
        leaving.heard(&mail(), &first);
        let (_, done) = leaving.join(&mail());
        assert!(done.is_some(), "the same again is another mail");
        leaving.heard(&mail(), &first);
        assert!(leaving.join(&mail()).1.is_none(), "whoever heard of the one says nothing of the other");
        leaving.over(&mail(), true);
        assert!(leaving.join(&mail()).1.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_hears_is_not_kept_for_ever() {
        let mut leaving = Leaving::default();
        let _done = leaving.join(&mail());
        leaving.over(&mail(), false);
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert!(leaving.join(&mail()).1.is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(leaving.join(&mail()).1.is_some());
    }
}
