//! The decision: permit, confirm or forbid.

use crate::budget::Room;
use crate::grant::{AuthorizationDetail, Grant};
use crate::operation::Operation;
use crate::time::{Span, Time};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The agent's grant on the account, as it stands.
    pub grant: &'a Grant,
    /// What the token was narrowed to, if it came by exchange.
    pub narrowed: Option<&'a AuthorizationDetail>,
    /// One operation of the request.
    pub operation: &'a Operation,
    /// Whether the whole request fits the budgets.
    pub room: Room,
    /// Whether the person's own mail, or an allowed send, went to everyone of the audience before.
    pub known_recipients: bool,
    /// The mailboxes or labels that it happens in, where the door can tell.
    pub places: Option<&'a [String]>,
    /// When.
    pub now: Time,
}

/// What is to be done with an operation, from mild to strict: of several operations the strictest wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It runs; a mail only after the delay, until when it can be cancelled.
    Permit {
        /// How long it waits in the outbox.
        delay: Option<Span>,
    },
    /// The person is asked.
    Confirm {
        /// Why, for the person.
        why: String,
    },
    /// It is refused.
    Forbid {
        /// Why, for the agent.
        why: String,
        /// What would be possible instead, for the agent.
        instead: String,
    },
}
