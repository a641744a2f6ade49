//! How far an answer reaches beyond the one request: the rule of an Allow, and a denial that is remembered.
//!
//! ```text
//!   Hold, all read ── Rule::offered ──> Rule ── shown, chosen ──> an allowance that covers what the rule matches
//!   Hold, denied   ── Denial ──> the same kind of request is answered with the denial
//! ```

use std::collections::HashMap;

use mail_parser::DateTime;
use serde::{Deserialize, Serialize};

use crate::call::Digest;
use crate::classify::mail;
use crate::hold::Hold;
use crate::operation::{Class, Request};
use crate::recipe::View;
use crate::time::{Span, Time};

/// The flag of a starred object: no rule covers one.
pub const STARRED: &str = "starred";
/// The flag of an object in the inbox.
pub const INBOX: &str = "inbox";
/// Ages that a rule can have, in days, longest first.
const AGES: [u64; 8] = [1095, 730, 365, 180, 90, 30, 7, 1];
/// The most objects of one request whose facts are read to see whether a rule covers them.
pub const MOST_READ: usize = 1_000;

/// What the objects of a hold have in common, as the person reads it: `any mail from news@shop.example, in the Inbox, older than 30 days`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// The sender's bare address, in lower case. No rule is without one.
    pub sender: String,
    /// In the inbox.
    pub inbox: bool,
    /// Older than so many days; 0: of any age.
    pub days: u64,
}

/// Names a rule among those that a hold offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(Digest);

impl RuleId {
    /// Reads what [`std::fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Digest::from_hex(text).map(Self)
    }
}

impl std::fmt::Display for RuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Rule {
    /// The rules that a hold offers: none unless it only modifies or removes, everything is read, and all of it is from one sender. `wall` is in
    /// milliseconds since the Unix epoch.
    #[must_use]
    pub fn offered(hold: &Hold, wall: u64) -> Vec<Self> {
        if !hold.is_gentle() || hold.objects.is_empty() {
            return Vec::new();
        }
        let seen: Option<Vec<&View>> = hold.objects.iter().map(|object| object.view.as_ref()).collect();
        seen.and_then(|views| Self::common(&views, wall)).into_iter().collect()
    }

    /// What all of these share; `None` unless they have one sender.
    #[must_use]
    pub fn common(views: &[&View], wall: u64) -> Option<Self> {
        let sender = sender(views.first()?)?;
        if !views.iter().all(|view| self::sender(view).as_ref() == Some(&sender)) {
            return None;
        }
        let inbox = views.iter().all(|view| has(view, INBOX));
        let dates: Option<Vec<u64>> = views.iter().map(|view| date(view)).collect();
        let newest = dates.and_then(|dates| dates.into_iter().max());
        let fits = |days: &&u64| newest.is_some_and(|newest| newest < cutoff(wall, **days));
        Some(Self { sender, inbox, days: AGES.iter().find(fits).copied().unwrap_or_default() })
    }

    /// Whether an object is one that the rule speaks of. A starred one never is.
    #[must_use]
    pub fn covers(&self, view: &View, wall: u64) -> bool {
        !has(view, STARRED)
            && sender(view).as_ref() == Some(&self.sender)
            && (!self.inbox || has(view, INBOX))
            && (self.days == 0 || date(view).is_some_and(|date| date < cutoff(wall, self.days)))
    }

    /// Its name, which changes with anything it says.
    #[must_use]
    pub fn id(&self) -> RuleId {
        RuleId(Digest::of(&[b"rule", self.sender.as_bytes(), &[u8::from(self.inbox)], &self.days.to_be_bytes()]))
    }

    /// For people; text from outside in it is only the sender's address, which is ASCII.
    #[must_use]
    pub fn text(&self) -> String {
        let place = if self.inbox { ", in the Inbox" } else { "" };
        let age = match self.days {
            0 => String::new(),
            1 => ", older than a day".to_owned(),
            days => format!(", older than {days} days"),
        };
        format!("any mail from {}{place}{age}", self.sender)
    }
}

fn has(view: &View, flag: &str) -> bool {
    view.flags.iter().any(|one| one == flag)
}

fn sender(view: &View) -> Option<String> {
    mail::only_address(view.from.as_deref()?)
}

/// Milliseconds since the Unix epoch.
fn date(view: &View) -> Option<u64> {
    let date = DateTime::parse_rfc3339(view.date.as_deref()?).filter(DateTime::is_valid)?;
    u64::try_from(date.to_timestamp()).ok()?.checked_mul(1000)
}

fn cutoff(wall: u64, days: u64) -> u64 {
    wall.saturating_sub(Span::days(days).0)
}

/// What the guard read about a request's objects, by id.
pub type Views = HashMap<String, View>;

/// A denial that is remembered: the same kind of request, where it would be asked, is denied at once. It never forbids what runs unasked, and never
/// permits anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// `d1`, `d2`, ...
    pub id: String,
    /// Who.
    pub agent: String,
    /// Where.
    pub account: String,
    /// The verb that the person read.
    pub verb: String,
    /// The Class that the person read.
    pub class: Class,
    /// When it ends; `None`: when the person takes it back.
    pub expires_at: Option<Time>,
}

impl Denial {
    /// The one kind of change that a request makes; `None` for a batch of several kinds, which can't be remembered.
    #[must_use]
    pub fn kind(request: &Request) -> Option<(&str, Class)> {
        let mut kinds = request.parts.iter().map(|part| &part.operation).map(|one| (one.verb.as_str(), one.class));
        let first = kinds.next()?;
        kinds.all(|kind| kind == first).then_some(first)
    }

    /// Whether it still stands.
    #[must_use]
    pub fn stands(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }

    /// Whether it speaks of any part of this request.
    #[must_use]
    pub fn meets(&self, agent: &str, account: &str, request: &Request) -> bool {
        self.agent == agent
            && self.account == account
            && request.parts.iter().any(|part| part.operation.verb == self.verb && part.operation.class == self.class)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;
    const WALL: u64 = 20_000 * DAY;

    fn view(from: &str, days_ago: u64, flags: &[&str]) -> View {
        let date = DateTime::from_timestamp(i64::try_from((WALL - days_ago * DAY) / 1000).unwrap()).to_rfc3339();
        View {
            title: "News".to_owned(),
            from: Some(from.to_owned()),
            date: Some(date),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            size: None,
        }
    }

    fn common(views: &[View]) -> Option<Rule> {
        Rule::common(&views.iter().collect::<Vec<_>>(), WALL)
    }

    #[test]
    fn a_rule_says_what_all_share() {
        let views =
            [view("Shop <news@Shop.example>", 40, &["inbox"]), view("news@shop.example", 31, &["inbox", "unread"])];
        let rule = common(&views).unwrap();
        assert_eq!(rule.text(), "any mail from news@shop.example, in the Inbox, older than 30 days");
        assert_eq!(
            common(&[views[0].clone(), view("news@shop.example", 2, &[])]).unwrap().text(),
            "any mail from news@shop.example, older than a day"
        );
        assert_eq!(common(&[view("news@shop.example", 0, &[])]).unwrap().text(), "any mail from news@shop.example");
    }

    #[test]
    fn without_one_sure_sender_there_is_no_rule() {
        let news = view("news@shop.example", 40, &["inbox"]);
        for from in [
            "other@shop.example",
            "news@shop.example, other@shop.example",
            "bank@bank.example <news@shop.example>",
            "",
            "no address",
        ] {
            assert_eq!(common(&[news.clone(), view(from, 40, &["inbox"])]), None, "{from}");
        }
        assert_eq!(common(&[]), None);
        assert_eq!(common(&[View { from: None, ..news }]), None);
    }

    #[test]
    fn a_name_that_looks_like_an_address_is_no_sender() {
        let rule = common(&[view("news@shop.example", 40, &[])]).unwrap();
        for from in [
            "\"news@shop.example\" <evil@evil.example>",
            "news@shop.example <evil@evil.example>",
            "xnews@shop.example",
            "news@shop.example.evil.example",
        ] {
            assert!(!rule.covers(&view(from, 40, &[]), WALL), "{from}");
        }
    }

    #[test]
    fn what_has_no_date_is_not_old() {
        let rule = common(&[view("news@shop.example", 40, &[])]).unwrap();
        assert!(rule.covers(&view("news@shop.example", 40, &[]), WALL));
        assert!(!rule.covers(&view("news@shop.example", 10, &[]), WALL));
        for date in [None, Some("long ago"), Some("1970-13-45T00:00:00Z")] {
            let view = View { date: date.map(str::to_owned), ..view("news@shop.example", 40, &[]) };
            assert!(!rule.covers(&view, WALL), "{date:?}");
        }
    }

    proptest! {
        #[test]
        fn a_rule_covers_what_it_was_made_from_but_for_stars(
            ages in prop::collection::vec(0u64..2000, 1..8),
            inbox in prop::collection::vec(any::<bool>(), 8),
            stars in prop::collection::vec(any::<bool>(), 8),
        ) {
            let views: Vec<View> = ages.iter().zip(inbox.iter().zip(&stars)).map(|(age, (inbox, star))| {
                let mut flags = Vec::new();
                if *inbox { flags.push("inbox"); }
                if *star { flags.push("starred"); }
                view("news@shop.example", *age, &flags)
            }).collect();
            let rule = common(&views).unwrap();
            for (view, star) in views.iter().zip(&stars) {
                prop_assert_eq!(rule.covers(view, WALL), !star);
            }
        }

        #[test]
        fn nothing_else_is_covered(days in 0usize..=8, inbox: bool, age in 0u64..2000, is_inbox: bool, is_star: bool, other: bool) {
            let rule = Rule { sender: "news@shop.example".to_owned(), inbox, days: AGES.get(days).copied().unwrap_or_default() };
            let mut flags = Vec::new();
            if is_inbox { flags.push("inbox"); }
            if is_star { flags.push("starred"); }
            let seen = view(if other { "a@b.example" } else { "News <NEWS@shop.example>" }, age, &flags);
            let fits = !other && !is_star && (!inbox || is_inbox) && (rule.days == 0 || age > rule.days);
            prop_assert_eq!(rule.covers(&seen, WALL), fits);
        }
    }
}
