//! Reading policies: errors with a line, and what each policy looks at.

use cedar_policy::{
    ActionConstraint, Entities, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
    Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use serde_json::Value;
use std::str::FromStr;

use crate::operation::Class;

const LONGEST: usize = 1 << 20;

/// What is wrong with the person's rules. They were not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not Cedar, or not about what the schema knows.
    #[error("line {line}: {why}")]
    At {
        /// Counted from 1.
        line: usize,
        /// In Cedar's words.
        why: String,
    },
    /// Not tied to a line.
    #[error("{0}")]
    Somewhere(String),
    /// A rule with a slot.
    #[error("line {line}: a rule can't have ?principal or ?resource; write the agent or account itself")]
    Template {
        /// Counted from 1.
        line: usize,
    },
    /// Too long.
    #[error("the rules are longer than 1 MiB; make them fewer")]
    TooLong,
}

/// One policy with what it looks at.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    pub(crate) sight: Sight,
    agent: Option<EntityUid>,
    account: Option<EntityUid>,
    classes: u16,
}

/// What of the context a policy looks at: one bit for each of [`FLAGS`], in that order, then [`BEYOND`] and the person's yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sight(u16);

/// The context's attributes with few values; the rest can't be tabled.
pub(crate) const FLAGS: [&str; 7] =
    ["within_budget", "known_recipients", "named", "in_scope", "leaves_inbox", "undoable", "decoded"];
/// The attributes with many values.
pub(crate) const BEYOND: [&str; 3] = ["operation", "count", "recipients"];
const CONFIRMED: &str = "confirmed";

/// The person's rules.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    pub(crate) fn all(&self) -> &[Rule] {
        &self.0
    }
}

impl Rule {
    pub(crate) fn read(policy: Policy, entities: &Entities) -> Result<Self, String> {
        let agent = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            PrincipalConstraint::In(one) | PrincipalConstraint::Eq(one) | PrincipalConstraint::IsIn(_, one) => {
                Some(one)
            }
        };
        let account = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            ResourceConstraint::In(one) | ResourceConstraint::Eq(one) | ResourceConstraint::IsIn(_, one) => Some(one),
        };
        let mut classes = 0;
        for class in Class::ALL {
            let action = super::action(class).map_err(|error| error.to_string())?;
            let reaches = |group: &EntityUid| *group == action || entities.is_ancestor_of(group, &action);
            let applies = match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(one) => one == action,
                ActionConstraint::In(groups) => groups.iter().any(reaches),
            };
            classes |= u16::from(applies) << class as u16;
        }
        let sight = Sight::of(&policy.to_json().map_err(|error| error.to_string())?);
        Ok(Self { policy, sight, agent, account, classes })
    }

    /// False only where its scope can't match.
    pub(crate) fn may_apply(&self, agent: &EntityUid, account: &EntityUid, class: Class) -> bool {
        self.classes & (1 << class as u16) != 0
            && self.agent.as_ref().is_none_or(|only| only == agent)
            && self.account.as_ref().is_none_or(|only| only == account)
    }
}

impl Sight {
    pub(crate) const ALL: Self = Self(u16::MAX);

    pub(crate) fn of(policy: &Value) -> Self {
        let mut sight = Self::default();
        sight.look(policy);
        sight
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn sees(self, attribute: &str) -> bool {
        self.0 & Self::only(attribute).0 != 0
    }

    /// The bits of [`FLAGS`] that a grant sets, as far as the policy looks at them.
    pub(crate) fn of_the_grant(self) -> u8 {
        let set = |bit: usize| ["within_budget", "named", "in_scope"].contains(FLAGS.get(bit).unwrap_or(&""));
        (0..FLAGS.len()).filter(|bit| set(*bit) && self.0 & (1 << bit) != 0).fold(0, |bits, bit| bits | 1 << bit)
    }

    pub(crate) fn sees_confirmed(self) -> bool {
        self.sees(CONFIRMED)
    }

    /// Whether it can't be tabled.
    pub(crate) fn beyond_flags(self) -> bool {
        BEYOND.into_iter().any(|attribute| self.sees(attribute))
    }

    fn only(attribute: &str) -> Self {
        let at = FLAGS.into_iter().chain(BEYOND).chain([CONFIRMED]).position(|known| known == attribute);
        at.map_or(Self::ALL, |bit| Self(1 << bit))
    }

    /// Walks Cedar's JSON form: `{".": {"left": {"Var": "context"}, "attr": NAME}}`, the same under `has`; the context in any other place is taken as a
    /// look at all of it.
    fn look(&mut self, json: &Value) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    let is_context = |value: &Value| value.get("Var").and_then(Value::as_str) == Some("context");
                    match (key.as_str(), value.get("attr").and_then(Value::as_str)) {
                        ("." | "has", Some(name)) if value.get("left").is_some_and(is_context) => {
                            *self = self.and(Self::only(name));
                        }
                        ("Var", _) if value.as_str() == Some("context") => *self = Self::ALL,
                        _ => self.look(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Parses and validates static policies; each gets the id `{prefix}:{its @id, or its number}`.
pub(crate) fn parse(text: &str, prefix: &str, schema: &Schema, entities: &Entities) -> Result<Vec<Rule>, RuleError> {
    if text.len() > LONGEST {
        return Err(RuleError::TooLong);
    }
    let set = PolicySet::from_str(text).map_err(|error| located(text, &error))?;
    if let Some(template) = set.templates().next() {
        let line = text.lines().position(|line| line.contains("?principal") || line.contains("?resource"));
        return Err(line.map_or_else(
            || RuleError::Somewhere(template.to_string()),
            |line| RuleError::Template { line: line + 1 },
        ));
    }
    validate(text, &set, schema)?;
    let mut policies: Vec<(u32, &Policy)> = set
        .policies()
        .map(|policy| (policy.id().to_string().trim_start_matches("policy").parse().unwrap_or(u32::MAX), policy))
        .collect();
    policies.sort_by_key(|(number, _)| *number);
    policies
        .into_iter()
        .map(|(number, policy)| {
            let id = PolicyId::new(format!("{prefix}:{number}"));
            Rule::read(policy.new_id(id), entities).map_err(RuleError::Somewhere)
        })
        .collect()
}

pub(crate) fn validate(text: &str, set: &PolicySet, schema: &Schema) -> Result<(), RuleError> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let mut errors: Vec<(usize, RuleError)> = result
        .validation_errors()
        .map(|error| match located(text, error) {
            RuleError::At { line, why } => (line, RuleError::At { line, why }),
            other => (usize::MAX, other),
        })
        .collect();
    errors.sort_by_key(|(line, error)| (*line, error.to_string()));
    errors.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

fn located(text: &str, error: &dyn Diagnostic) -> RuleError {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let said = error.to_string();
    let named = said.strip_prefix("for policy `policy").and_then(|rest| rest.split_once("`, "));
    let why = named.map_or(said.as_str(), |(_, why)| why);
    let help = if why.starts_with("unrecognized action") {
        Some(format!("there are {} and the groups changes and reaches", Class::ALL.map(Class::name).join(", ")))
    } else {
        error.help().map(|help| help.to_string())
    };
    let why = help.map_or(why.to_owned(), |help| format!("{why} ({help})"));
    match offset.and_then(|offset| text.get(..offset)) {
        Some(before) => RuleError::At { line: before.matches('\n').count() + 1, why },
        None => RuleError::Somewhere(why),
    }
}
