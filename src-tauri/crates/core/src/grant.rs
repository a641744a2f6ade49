//! What the person allowed an agent on an account.
//!
//! ```text
//!   Grant { agent, AuthorizationDetail { account, preset, narrowed to .., named .., budgets .. }, created_at, expires_at }
//! ```
//! `locations` narrows a detail to the addresses that it names: the account's own (`https://gmail.googleapis.com`), the door's (`http://127.0.0.1:8600`)
//! or the account's at the door (`http://127.0.0.1:8600/work`). When the account moves to another origin, or the door to another port, nothing is
//! allowed any more.
//!
//! A detail is RFC 9396 JSON of type `latchstring_account`. One that contradicts itself can't be made: parsing refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::classify::imap::name::{canonical, shown, wire_name};
use crate::operation::{Class, Meter, Operation};
use crate::time::{Span, Time};

pub mod location;

/// A detail's `type`.
pub const DETAIL_TYPE: &str = "latchstring_account";
/// How long an agent counts as new: its budgets for leaving INBOX and removing are halved.
pub const NEW_FOR: Span = Span::days(7);
const MOST_ENTRIES: usize = 256;
const MOST_DETAILS: usize = 64;

/// The person's choice for an agent on an account; `policy/grants.cedar` says what each allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Reads.
    ReadOnly,
    /// Reads, labels, archives and trashes within budgets.
    Organize,
    /// As organize, and sends to known recipients.
    Assistant,
    /// Reads; everything else is asked.
    AskEverything,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::ReadOnly, Self::Organize, Self::Assistant, Self::AskEverything];

    /// Its kebab-case name, as in contracts and in `grants.cedar`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Organize => "organize",
            Self::Assistant => "assistant",
            Self::AskEverything => "ask-everything",
        }
    }

    /// The preset of this name.
    pub fn parse(name: &str) -> Result<Self, GrantError> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| GrantError::UnknownPreset(name.to_owned()))
    }

    /// What runs unasked; `None` where everything is asked or refused.
    #[must_use]
    pub const fn budget(self, meter: Meter) -> Option<Budget> {
        match (self, meter) {
            (_, Meter::Read) => Some(Budget::new(500, 5_000)),
            (Self::Organize | Self::Assistant, Meter::Modify) => Some(Budget::new(200, 2_000)),
            (Self::Organize | Self::Assistant, Meter::LeaveInbox) => Some(Budget::new(20, 200)),
            (Self::Organize | Self::Assistant, Meter::Remove) => Some(Budget::new(5, 50)),
            (Self::Assistant, Meter::Send) => Some(Budget::new(5, 20)),
            (Self::Organize, Meter::Send) | (Self::ReadOnly | Self::AskEverything, _) => None,
        }
    }

    /// Whether whatever this preset lets happen, `parent` lets happen at least as easily.
    #[must_use]
    pub const fn within(self, parent: Self) -> bool {
        match self {
            Self::ReadOnly => true,
            Self::Organize => matches!(parent, Self::Organize | Self::Assistant),
            Self::Assistant => matches!(parent, Self::Assistant),
            Self::AskEverything => matches!(parent, Self::AskEverything),
        }
    }

    /// In a sentence, for the person.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::ReadOnly => "Reads, changes nothing.",
            Self::Organize => {
                "Reads, labels, archives and trashes within its budgets, asks beyond them. Sends nothing."
            }
            Self::Assistant => {
                "Reads, labels, archives and trashes within its budgets, sends to people you know after a delay. Asks for the rest."
            }
            Self::AskEverything => "Reads. Asks for everything else.",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many objects run unasked. In JSON: `[per 10 minutes, per 24 hours]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u32; 2]", into = "[u32; 2]")]
pub struct Budget {
    /// In any 10 minutes.
    pub ten_minutes: u32,
    /// In any 24 hours.
    pub day: u32,
}

impl Budget {
    /// A budget.
    #[must_use]
    pub const fn new(ten_minutes: u32, day: u32) -> Self {
        Self { ten_minutes, day }
    }

    /// Half of it, rounded up.
    #[must_use]
    pub const fn halved(self) -> Self {
        Self::new(self.ten_minutes.div_ceil(2), self.day.div_ceil(2))
    }

    /// Whether neither number is larger than the parent's.
    #[must_use]
    pub const fn within(self, parent: Self) -> bool {
        self.ten_minutes <= parent.ten_minutes && self.day <= parent.day
    }
}

impl From<[u32; 2]> for Budget {
    fn from([ten_minutes, day]: [u32; 2]) -> Self {
        Self { ten_minutes, day }
    }
}

impl From<Budget> for [u32; 2] {
    fn from(budget: Budget) -> Self {
        [budget.ten_minutes, budget.day]
    }
}

/// An action's exact name, or a family of them: `gmail.users.messages.*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionPattern(String);

impl ActionPattern {
    /// Whether the action is meant.
    #[must_use]
    pub fn matches(&self, action: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(family) => action.starts_with(family),
            None => self.0 == action,
        }
    }

    /// Whether everything that `other` means is meant.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(other.0.strip_suffix('*').unwrap_or(&other.0)) && (self.is_family() || !other.is_family())
    }

    /// Whether it means more than one exact name.
    #[must_use]
    pub fn is_family(&self) -> bool {
        self.0.ends_with('*')
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ActionPattern {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        let name = text.strip_suffix(".*").unwrap_or(&text);
        let segment = |segment: &str| {
            !segment.is_empty()
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':'))
        };
        if text.len() <= 200 && name.split('.').all(segment) {
            Ok(Self(text))
        } else {
            Err(GrantError::BadAction(text))
        }
    }
}

impl From<ActionPattern> for String {
    fn from(pattern: ActionPattern) -> Self {
        pattern.0
    }
}

/// What is allowed on one account (RFC 9396).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Json", try_from = "Json")]
pub struct AuthorizationDetail {
    pub(crate) account: String,
    pub(crate) preset: Preset,
    pub(crate) actions: Option<BTreeSet<ActionPattern>>,
    pub(crate) classes: Option<BTreeSet<Class>>,
    pub(crate) locations: Option<BTreeSet<String>>,
    pub(crate) named: BTreeSet<ActionPattern>,
    pub(crate) budgets: BTreeMap<Meter, Budget>,
    /// Names as on the wire.
    pub(crate) mailboxes: Option<BTreeSet<String>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    r#type: String,
    account: String,
    preset: Preset,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actions: Option<BTreeSet<ActionPattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<BTreeSet<Class>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locations: Option<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    named: BTreeSet<ActionPattern>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    budgets: BTreeMap<Meter, Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mailboxes: Option<BTreeSet<String>>,
}

impl From<AuthorizationDetail> for Json {
    fn from(detail: AuthorizationDetail) -> Self {
        let AuthorizationDetail { account, preset, actions, classes, locations, named, budgets, mailboxes } = detail;
        let mailboxes =
            mailboxes.map(|all| all.iter().map(|name| shown(name).unwrap_or_else(|| name.clone())).collect());
        Self { r#type: DETAIL_TYPE.to_owned(), account, preset, actions, classes, locations, named, budgets, mailboxes }
    }
}

impl TryFrom<Json> for AuthorizationDetail {
    type Error = GrantError;

    fn try_from(json: Json) -> Result<Self, GrantError> {
        let Json { r#type, account, preset, actions, classes, locations, named, budgets, mailboxes } = json;
        if r#type != DETAIL_TYPE {
            return Err(GrantError::OtherType(r#type));
        }
        let lengths =
            [actions.as_ref().map_or(0, BTreeSet::len), locations.as_ref().map_or(0, BTreeSet::len), named.len()];
        if lengths.into_iter().any(|length| length > MOST_ENTRIES) {
            return Err(GrantError::TooMuch);
        }
        if mailboxes.as_ref().is_some_and(|all| all.len() > MOST_ENTRIES) {
            return Err(GrantError::TooMuch);
        }
        let wire = |text: String| {
            let name = wire_name(&text).and_then(|name| canonical(name.as_bytes()));
            name.ok_or(GrantError::BadMailbox(text))
        };
        let mailboxes = mailboxes.map(|all| all.into_iter().map(wire).collect::<Result<_, _>>()).transpose()?;
        let locations = locations
            .map(|all| {
                let normal = |text: String| location::normal(&text).ok_or(GrantError::BadLocation(text));
                all.into_iter().map(normal).collect::<Result<BTreeSet<_>, _>>()
            })
            .transpose()?;
        if let Some(family) = named.iter().find(|pattern| pattern.is_family()) {
            return Err(GrantError::NamedFamily(family.as_str().to_owned()));
        }
        if preset == Preset::ReadOnly
            && let Some(name) = named.first()
        {
            return Err(GrantError::NamedReadOnly(name.as_str().to_owned()));
        }
        if let Some(meter) = budgets.keys().find(|meter| preset.budget(**meter).is_none()) {
            return Err(GrantError::NoNumber { preset, meter: *meter });
        }
        Ok(Self { account, preset, actions, classes, locations, named, budgets, mailboxes })
    }
}

impl AuthorizationDetail {
    /// A preset on an account, as it stands.
    #[must_use]
    pub fn new(account: impl Into<String>, preset: Preset) -> Self {
        Self {
            account: account.into(),
            preset,
            actions: None,
            classes: None,
            locations: None,
            named: BTreeSet::new(),
            budgets: BTreeMap::new(),
            mailboxes: None,
        }
    }

    /// Reads `authorization_details`: an array, or one object; at most one for an account.
    pub fn parse(details: &Value) -> Result<Vec<Self>, GrantError> {
        let items = match details {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        if items.len() > MOST_DETAILS {
            return Err(GrantError::TooMuch);
        }
        let mut parsed: Vec<Self> = Vec::with_capacity(items.len());
        for item in items {
            let detail: Self =
                serde_json::from_value(item.clone()).map_err(|error| GrantError::BadDetail(error.to_string()))?;
            if parsed.iter().any(|earlier| earlier.account == detail.account) {
                return Err(GrantError::Twice(detail.account));
            }
            parsed.push(detail);
        }
        Ok(parsed)
    }

    /// The detail of a grant: the person's account and preset, narrowed or named further by `details` (one object, or an array of one, where `type`,
    /// `account` and `preset` may be left out but not differ), with `budgets` by meter name on top.
    pub fn for_grant(
        account: &str,
        preset: &str,
        details: Option<&Value>,
        budgets: Option<&BTreeMap<String, [u32; 2]>>,
    ) -> Result<Self, GrantError> {
        let preset = Preset::parse(preset)?;
        let mut object = match details {
            None | Some(Value::Null) => serde_json::Map::new(),
            Some(Value::Object(object)) => object.clone(),
            Some(Value::Array(items)) => match items.as_slice() {
                [] => serde_json::Map::new(),
                [Value::Object(object)] => object.clone(),
                [_] => return Err(GrantError::BadDetail("an entry is not an object".to_owned())),
                _ => return Err(GrantError::Several),
            },
            Some(_) => return Err(GrantError::BadDetail("neither an object nor an array".to_owned())),
        };
        for (field, value) in [("type", DETAIL_TYPE), ("account", account), ("preset", preset.name())] {
            let stated = object.entry(field).or_insert_with(|| value.into());
            if stated != value {
                return Err(GrantError::Contradicts { field, stated: stated.to_string(), given: value.to_owned() });
            }
        }
        if let Some(budgets) = budgets {
            let stated = object.entry("budgets").or_insert_with(|| Value::Object(serde_json::Map::new()));
            let Some(stated) = stated.as_object_mut() else {
                return Err(GrantError::BadDetail("`budgets` is not an object".to_owned()));
            };
            for (meter, numbers) in budgets {
                stated.insert(meter.clone(), (*numbers).into());
            }
        }
        serde_json::from_value(Value::Object(object)).map_err(|error| GrantError::BadDetail(error.to_string()))
    }

    /// The same limits under another preset; numbers and names that it can't have fall away.
    #[must_use]
    pub fn with_preset(&self, preset: Preset) -> Self {
        let mut detail = Self { preset, ..self.clone() };
        detail.budgets.retain(|meter, _| preset.budget(*meter).is_some());
        if preset == Preset::ReadOnly {
            detail.named.clear();
        }
        detail
    }

    /// On which account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Its preset.
    #[must_use]
    pub const fn preset(&self) -> Preset {
        self.preset
    }

    /// Whether the operation is among the actions and Classes, and one of the account's addresses among the locations. `places` are those addresses as
    /// [`location::normal`] spells them; an account whose addresses nobody knows is outside.
    #[must_use]
    pub fn covers(&self, operation: &Operation, places: Option<&[String]>) -> bool {
        let action =
            |patterns: &BTreeSet<ActionPattern>| patterns.iter().any(|pattern| pattern.matches(&operation.action));
        let place = |allowed: &BTreeSet<String>| {
            places.is_some_and(|places| places.iter().any(|place| allowed.contains(place)))
        };
        self.actions.as_ref().is_none_or(action)
            && self.classes.as_ref().is_none_or(|classes| classes.contains(&operation.class))
            && self.locations.as_ref().is_none_or(place)
    }

    /// Whether a mailbox of an IMAP account may be used; by its name on the wire. A mailbox inside one that is listed must be listed itself.
    #[must_use]
    pub fn admits(&self, mailbox: &str) -> bool {
        self.mailboxes.as_ref().is_none_or(|mailboxes| mailboxes.contains(mailbox))
    }

    /// Whether all mailboxes of an account may be used.
    #[must_use]
    pub fn admits_all(&self) -> bool {
        self.mailboxes.is_none()
    }

    /// Whether it names the action, as divert and spend need. The preset that asks for everything names everything.
    #[must_use]
    pub fn names(&self, action: &str) -> bool {
        self.preset == Preset::AskEverything || self.named.iter().any(|pattern| pattern.matches(action))
    }

    /// What runs unasked on a meter, without regard to how new the agent is.
    #[must_use]
    pub fn budget(&self, meter: Meter) -> Option<Budget> {
        self.budgets.get(&meter).copied().or_else(|| self.preset.budget(meter))
    }

    /// The same for an agent known since `agent_since`: a new one has half of what the preset gives for leaving INBOX and removing. Numbers that the
    /// person set are taken as they are.
    #[must_use]
    pub fn budget_for(&self, meter: Meter, agent_since: Time, now: Time) -> Option<Budget> {
        let budget = self.budget(meter)?;
        let cautious = matches!(meter, Meter::LeaveInbox | Meter::Remove) && !self.budgets.contains_key(&meter);
        Some(if cautious && now < agent_since + NEW_FOR { budget.halved() } else { budget })
    }

    /// In a few sentences, for the person.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = self.preset.summary().to_owned();
        let mut add = |lead: &str, items: Vec<&str>| {
            summary.push_str(&format!(" {lead} {}.", items.join(", ")));
        };
        if let Some(actions) = &self.actions {
            add("Only", actions.iter().map(ActionPattern::as_str).collect());
        }
        if let Some(classes) = &self.classes {
            add("Only to", classes.iter().map(|class| class.name()).collect());
        }
        if let Some(locations) = &self.locations {
            add("Only at", locations.iter().map(String::as_str).collect());
        }
        let mailboxes: Option<Vec<String>> = self
            .mailboxes
            .as_ref()
            .map(|all| all.iter().map(|name| shown(name).unwrap_or_else(|| name.clone())).collect());
        if let Some(mailboxes) = &mailboxes {
            add("Only the mailboxes", mailboxes.iter().map(String::as_str).collect());
        }
        if !self.named.is_empty() {
            add("May ask for", self.named.iter().map(ActionPattern::as_str).collect());
        }
        let number = |(meter, budget): (&Meter, &Budget)| {
            format!("{} {} in 10 minutes and {} in 24 hours", meter.name(), budget.ten_minutes, budget.day)
        };
        let numbers: Vec<String> = self.budgets.iter().map(number).collect();
        if !numbers.is_empty() {
            add("Unasked at most:", numbers.iter().map(String::as_str).collect());
        }
        summary
    }
}

/// A detail given to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `g1`, `g2`, ...
    pub id: String,
    /// To whom.
    pub agent: String,
    /// What, and on which account.
    pub detail: AuthorizationDetail,
    /// Since when.
    pub created_at: Time,
    /// Until when; `None`: until revoked.
    pub expires_at: Option<Time>,
}

impl Grant {
    /// On which account.
    #[must_use]
    pub fn account(&self) -> &str {
        self.detail.account()
    }

    /// Its preset.
    #[must_use]
    pub const fn preset(&self) -> Preset {
        self.detail.preset()
    }

    /// Whether it still stands (I4).
    #[must_use]
    pub fn stands(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// What is wrong with a grant as it was asked for. The one who asks must change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No such preset.
    #[error("there is no preset `{0}`; choose read-only, organize, assistant or ask-everything")]
    UnknownPreset(String),
    /// Another `type`.
    #[error("the authorization detail has the type `{0}`; only `{DETAIL_TYPE}` is understood")]
    OtherType(String),
    /// Not of the right form.
    #[error("the authorization detail can't be read: {0}")]
    BadDetail(String),
    /// An account twice.
    #[error("the account `{0}` stands in two authorization details; put everything about it into one")]
    Twice(String),
    /// Several details in one grant.
    #[error("a grant is about one account; give one authorization detail")]
    Several,
    /// A detail disagrees with the grant's own parameters.
    #[error(
        "the authorization detail says {stated} as its {field}, the grant is about `{given}`; leave `{field}` out or let it agree"
    )]
    Contradicts {
        /// Which field.
        field: &'static str,
        /// What the detail says.
        stated: String,
        /// What the grant says.
        given: String,
    },
    /// Not an action name.
    #[error(
        "`{0}` is no action; write an exact name such as gmail.users.messages.trash, or a family such as gmail.users.messages.*"
    )]
    BadAction(String),
    /// Not the name of a mailbox.
    #[error("`{0}` can't be the name of a mailbox; write it as your mail program shows it, such as INBOX or Work/Old")]
    BadMailbox(String),
    /// Not an address.
    #[error(
        "`{0}` is no location; write the account's own address, such as https://gmail.googleapis.com, or its address at this door, such as http://127.0.0.1:8600/ACCOUNT"
    )]
    BadLocation(String),
    /// A family where an exact name is needed.
    #[error("`{0}` names a family; what redirects mail or costs money must be named one by one")]
    NamedFamily(String),
    /// Read-only names nothing.
    #[error("read-only can't name `{0}`; choose another preset")]
    NamedReadOnly(String),
    /// A number for what never runs unasked.
    #[error("{preset} runs nothing unasked on the meter {}, so it has no number for it; choose another preset", meter.name())]
    NoNumber {
        /// The preset.
        preset: Preset,
        /// The meter.
        meter: Meter,
    },
    /// Too many entries.
    #[error("too many entries: at most {MOST_DETAILS} details with {MOST_ENTRIES} names each")]
    TooMuch,
}

#[cfg(test)]
mod tests;
