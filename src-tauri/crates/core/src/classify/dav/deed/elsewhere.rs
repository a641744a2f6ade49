//! MOVE of a whole collection: its address is gone afterwards for everybody who has it, so it is asked like a DELETE, and counts like a MOVE of each entry.

use std::collections::BTreeSet;

use super::super::hrefs::Here;
use super::super::look::Holds;
use super::super::refused;
use super::super::request::Asked;
use super::super::shown::{names, whole};
use super::{At, Deed, Draft, Seen, Tree, bound, stale};
use crate::classify::Refusal;
use crate::operation::{Class, Part};

pub(super) fn whole_move(
    asked: &Asked,
    (tree, people): (&Tree, &BTreeSet<String>),
    to: &str,
    seen: &Seen,
    here: &Here,
) -> Result<Part, Refusal> {
    let slashed = |path: &str| format!("{}/", path.trim_end_matches('/'));
    let (from, to) = (slashed(&asked.path), slashed(to));
    if asked.shallow {
        let detail =
            "A collection moves with all that is in it, so Depth is infinity or left out (RFC 4918 section 9.9.2).";
        return Err(refused(400, "Less than the whole", detail));
    }
    if to.starts_with(&from) || from.starts_with(&to) {
        let detail = "The Destination is the collection itself, inside of it, or around it. Nothing was done.";
        return Err(refused(403, "It can't go there", detail));
    }
    if seen.to != At::Nothing {
        if !asked.overwrite {
            return Err(stale("There is something at the Destination already (Overwrite: F)."));
        }
        let detail = "There is something at the Destination, and a collection that moves replaces nothing here. Nothing was done. Name an address that is free.";
        return Err(refused(403, "It can't go there", detail));
    }
    if seen.around != Some(Holds::Else) {
        let detail = "A calendar or an address book can only be in a collection of such, one that is there already. Nothing was done.";
        return Err(refused(409, "It does not belong there", detail));
    }
    let mut draft = Draft::new(Deed::MoveAll, "move-collection", Class::Destroy, "");
    let (verb, kind, ids) = whole(tree, "Move");
    (draft.verb, draft.kind, draft.ids) = (verb, kind.to_owned(), ids);
    draft.facts = names(tree);
    draft.fact("From", from.clone());
    draft.fact("To", to.clone());
    draft.invites(people.clone(), &seen.own, "The server may tell");
    draft.undo = Some("moved-all");
    draft.expects = vec![(to.clone(), None)];
    draft.headers.extend(bound(tree));
    draft.headers.push(("depth".to_owned(), "infinity".to_owned()));
    draft.headers.push(("overwrite".to_owned(), "F".to_owned()));
    draft.headers.push(("destination".to_owned(), format!("{}{to}", here.base)));
    draft.tree = Some(tree.clone());
    Ok(draft.part(&Asked { path: from, to: Some(to), ..asked.clone() }))
}
