//! A narrower token out of a token (RFC 8693): a child never exceeds its parent.
//!
//! What comes out is compared with the parent's token at the exchange, and decided together with the grant as it stands at each request, so a grant
//! that is narrowed later narrows every token made from it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::grant::{ActionPattern, AuthorizationDetail, Budget, GrantError, Preset};
use crate::operation::Meter;
use crate::time::{Span, Time};

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// One for each account; nothing on other accounts.
    pub details: Vec<AuthorizationDetail>,
    /// Nothing from here on (I4).
    pub expires_at: Time,
}

impl Authority {
    /// The detail for an account; `None` means that the token is not good for it.
    #[must_use]
    pub fn detail(&self, account: &str) -> Option<&AuthorizationDetail> {
        self.details.iter().find(|detail| detail.account() == account)
    }

    /// A child for at most `lifetime`, as long as the parent at most.
    ///
    /// `requested` is the exchange's `authorization_details`; without it the child may do what the parent may.
    pub fn exchange(&self, requested: Option<&Value>, lifetime: Span, now: Time) -> Result<Self, ExchangeError> {
        if self.expires_at <= now {
            return Err(ExchangeError::Expired);
        }
        let details = match requested {
            None => self.details.clone(),
            Some(requested) => narrow(&self.details, &AuthorizationDetail::parse(requested)?)?,
        };
        Ok(Self { details, expires_at: self.expires_at.min(now + lifetime) })
    }
}

/// Details for a child: each as requested, with every limit of the parent's that the request leaves open. Asking for more is an error, not less.
pub fn narrow(
    parent: &[AuthorizationDetail],
    requested: &[AuthorizationDetail],
) -> Result<Vec<AuthorizationDetail>, ExchangeError> {
    if requested.is_empty() {
        return Err(ExchangeError::Nothing);
    }
    requested
        .iter()
        .map(|child| {
            let parent = parent
                .iter()
                .find(|parent| parent.account == child.account)
                .ok_or_else(|| ExchangeError::Account(child.account.clone()))?;
            narrow_one(parent, child)
        })
        .collect()
}

fn narrow_one(parent: &AuthorizationDetail, child: &AuthorizationDetail) -> Result<AuthorizationDetail, ExchangeError> {
    let account = &parent.account;
    if !child.preset.within(parent.preset) {
        return Err(ExchangeError::Preset { account: account.clone(), child: child.preset, parent: parent.preset });
    }
    let exceeds = |what: String| ExchangeError::Exceeds { account: account.clone(), what };
    let covered =
        |patterns: &BTreeSet<ActionPattern>, one: &ActionPattern| patterns.iter().any(|pattern| pattern.covers(one));
    let actions =
        within(&parent.actions, &child.actions, covered).map_err(|action| exceeds(action.as_str().to_owned()))?;
    let classes = within(&parent.classes, &child.classes, BTreeSet::contains)
        .map_err(|class| exceeds(format!("the class {}", class.name())))?;
    let locations = within(&parent.locations, &child.locations, BTreeSet::contains)
        .map_err(|location| exceeds(format!("the location {location}")))?;
    let mailboxes = within(&parent.mailboxes, &child.mailboxes, BTreeSet::contains)
        .map_err(|mailbox| exceeds(format!("the mailbox {mailbox}")))?;
    if let Some(name) = child.named.iter().find(|name| !parent.names(name.as_str())) {
        return Err(exceeds(format!("the named action {}", name.as_str())));
    }
    let mut budgets = child.budgets.clone();
    for meter in Meter::ALL {
        let Some(own) = child.preset.budget(meter) else { continue };
        let most = parent.budget(meter).unwrap_or(Budget::new(0, 0));
        match budgets.get(&meter) {
            Some(asked) if !asked.within(most) => {
                return Err(exceeds(format!("a larger number for the meter {}", meter.name())));
            }
            Some(_) => {}
            None if parent.budgets.contains_key(&meter) || most != own => {
                budgets.insert(meter, most);
            }
            None => {}
        }
    }
    Ok(AuthorizationDetail {
        account: account.clone(),
        preset: child.preset,
        actions,
        classes,
        locations,
        named: child.named.clone(),
        budgets,
        mailboxes,
    })
}

/// The child's set where it has one, all of it within the parent's; else the parent's.
fn within<T: Clone + Ord>(
    parent: &Option<BTreeSet<T>>,
    child: &Option<BTreeSet<T>>,
    contains: impl Fn(&BTreeSet<T>, &T) -> bool,
) -> Result<Option<BTreeSet<T>>, T> {
    match (parent, child) {
        (_, None) => Ok(parent.clone()),
        (None, Some(_)) => Ok(child.clone()),
        (Some(allowed), Some(asked)) => match asked.iter().find(|one| !contains(allowed, one)) {
            Some(outside) => Err(outside.clone()),
            None => Ok(child.clone()),
        },
    }
}

/// Why there is no child token. The agent must ask for less.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The parent is no longer valid.
    #[error("the token has expired; get a new one first")]
    Expired,
    /// An empty list.
    #[error("no authorization detail was asked for; leave the parameter out for all that the token may do")]
    Nothing,
    /// Not the parent's account.
    #[error("the token is not good for the account `{0}`; ask for one of its own accounts")]
    Account(String),
    /// Not a narrower preset.
    #[error(
        "on `{account}` the token has the preset {parent}, which {child} is not part of; ask for {parent} or read-only"
    )]
    Preset {
        /// Where.
        account: String,
        /// Asked for.
        child: Preset,
        /// The token's.
        parent: Preset,
    },
    /// More than the parent has.
    #[error("on `{account}` the token does not include {what}; ask for less")]
    Exceeds {
        /// Where.
        account: String,
        /// What goes too far.
        what: String,
    },
    /// Not a detail.
    #[error(transparent)]
    Detail(#[from] GrantError),
}

#[cfg(test)]
mod tests;
