//! The policies: three sets of Cedar, and the part of them that can matter to one agent, account and Class.
//!
//! ```text
//!   floor.cedar   shipped: only forbids, never asks less than it says
//!   grants.cedar  shipped: templates, linked for each grant's agent and account by preset
//!   rules         the person's: may permit more than a grant, never more than the floor
//!
//!   cell(agent, account, Class) = what of all three can apply there
//!     ├─ what looks only at flags: evaluated once for each combination of flags, then read from a table
//!     └─ the rest: evaluated each time
//! ```
//! A permit that needs `context.confirmed` is a question to the person: evaluated without it nothing is permitted, with it something is. A policy that
//! can't be evaluated counts as forbid (I5).

mod cell;
mod rules;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::OnceLock;

use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Schema, SlotId, Template};

use crate::grant::Preset;
use crate::operation::Class;

pub use cell::Outcome;
pub(crate) use cell::{Against, Cell, Facts, Flags};
pub use rules::RuleError;
pub(crate) use rules::Rules;
use rules::{Rule, Sight};

pub(crate) const SCHEMA: &str = include_str!("../policy/schema.cedarschema");
pub(crate) const FLOOR: &str = include_str!("../policy/floor.cedar");
pub(crate) const GRANTS: &str = include_str!("../policy/grants.cedar");

/// Why there are no policies to decide with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A shipped file is broken: our own fault.
    #[error("the shipped {file} is broken: {why}; reinstall Latchstring")]
    Shipped {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The person's rules are.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// Two grants for one agent on one account: our own fault.
    #[error("`{agent}` has two grants on `{account}`; revoke one")]
    TwoGrants {
        /// The agent.
        agent: String,
        /// The account.
        account: String,
    },
}

/// What is shipped, parsed.
#[derive(Debug)]
pub(crate) struct Shipped {
    schema: Schema,
    entities: Entities,
    floor: Vec<Rule>,
    templates: PolicySet,
    presets: Vec<(Preset, PolicyId)>,
}

impl Shipped {
    /// Parsed once a process.
    pub(crate) fn get() -> Result<&'static Self, PolicyError> {
        static SHIPPED: OnceLock<Result<Shipped, PolicyError>> = OnceLock::new();
        SHIPPED.get_or_init(Self::parse).as_ref().map_err(PolicyError::clone)
    }

    fn parse() -> Result<Self, PolicyError> {
        let broken = |file, why: &dyn std::fmt::Display| PolicyError::Shipped { file, why: why.to_string() };
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| broken("schema.cedarschema", &error))?;
        let entities = schema.action_entities().map_err(|error| broken("schema.cedarschema", &error))?;
        let floor = rules::parse(FLOOR, "floor", &schema, &entities).map_err(|error| broken("floor.cedar", &error))?;
        let set = PolicySet::from_str(GRANTS).map_err(|error| broken("grants.cedar", &error))?;
        rules::validate(GRANTS, &set, &schema).map_err(|error| broken("grants.cedar", &error))?;
        let mut templates = PolicySet::new();
        let mut presets = Vec::new();
        let mut parsed: Vec<&Template> = set.templates().collect();
        parsed.sort_by_key(|template| template.id().to_string());
        for template in parsed {
            let annotation = |key| {
                template.annotation(key).ok_or_else(|| broken("grants.cedar", &format!("a template without @{key}")))
            };
            let id = PolicyId::new(annotation("id")?);
            let json = template.to_json().map_err(|error| broken("grants.cedar", &error))?;
            if Sight::of(&json).beyond_flags() {
                return Err(broken("grants.cedar", &format!("{id} looks at more than flags")));
            }
            for name in annotation("presets")?.split_ascii_whitespace() {
                presets.push((Preset::parse(name).map_err(|error| broken("grants.cedar", &error))?, id.clone()));
            }
            templates.add_template(template.new_id(id)).map_err(|error| broken("grants.cedar", &error))?;
        }
        Ok(Self { schema, entities, floor, templates, presets })
    }

    /// What of the floor, a preset's links and the rules can matter.
    pub(crate) fn cell(
        &self,
        preset: Preset,
        agent: &str,
        account: &str,
        class: Class,
        rules: &Rules,
    ) -> Result<Cell, PolicyError> {
        let broken = |why: &dyn std::fmt::Display| PolicyError::Shipped { file: "grants.cedar", why: why.to_string() };
        let (agent, account) = (entity("Agent", agent)?, entity("Account", account)?);
        let mut links = self.templates.clone();
        for (_, template) in self.presets.iter().filter(|(of, _)| *of == preset) {
            let slots = HashMap::from([(SlotId::principal(), agent.clone()), (SlotId::resource(), account.clone())]);
            links
                .link(template.clone(), PolicyId::new(format!("grant:{template}")), slots)
                .map_err(|error| broken(&error))?;
        }
        let applying = self.floor.iter().chain(rules.all()).filter(|rule| rule.may_apply(&agent, &account, class));
        Cell::build(agent.clone(), action(class)?, account.clone(), links, applying).map_err(|error| broken(&error))
    }

    pub(crate) fn rules(&self, text: &str) -> Result<Rules, PolicyError> {
        Ok(Rules::new(rules::parse(text, "rule", &self.schema, &self.entities)?))
    }

    pub(crate) fn entities(&self) -> &Entities {
        &self.entities
    }
}

pub(crate) fn entity(kind: &str, id: &str) -> Result<EntityUid, PolicyError> {
    let kind = EntityTypeName::from_str(kind)
        .map_err(|error| PolicyError::Shipped { file: "schema.cedarschema", why: error.to_string() })?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

pub(crate) fn action(class: Class) -> Result<EntityUid, PolicyError> {
    entity("Action", class.name())
}
