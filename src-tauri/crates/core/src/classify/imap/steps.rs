//! The commands that a deed leads to.

use super::command::Mode;
use super::deed::{Deed, On, Server, chunks, command};
use super::gmail;
use super::token::{Token, encode};
use crate::call::Call;

/// One command of a deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What leaves.
    pub call: Call,
    /// The messages that it acts on.
    pub uids: Vec<u32>,
    /// Where its answer says that they went (RFC 4315 COPYUID): this mailbox.
    pub moves_to: Option<String>,
    /// Whether the step's success is what the agent asked for; otherwise it only prepares.
    pub counts: bool,
}

/// Why a deed can't be done on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// Nothing to do it to.
    #[error("nothing is named")]
    Nothing,
    /// Only all marked messages could be removed, not exactly those that were shown.
    #[error("the mail server can't remove exactly these messages (it has no UIDPLUS), so nothing was removed")]
    NoUidplus,
    /// It was to go into the Trash, and the Trash is gone since that was decided.
    #[error("the mail server has no Trash any more, so nothing was removed")]
    NoTrash,
    /// A condition that holds for a mark only.
    #[error(
        "UNCHANGEDSINCE can't be kept here, where a message that is marked as deleted is moved to the Trash: ask without it. Nothing was changed"
    )]
    Conditional,
    /// It can't be put into a command.
    #[error("a name in it can't be written")]
    Unwritable,
}

/// The commands of a deed, in order. `soft`: into the Trash instead of away; `stamp` makes the name of a mailbox in the Trash its own.
pub fn steps(deed: &Deed, on: &On, server: &Server, soft: bool, stamp: &str) -> Result<Vec<Step>, Unable> {
    let whole = |verb: &str, args: &[Token]| {
        let call = command(verb, None, args).ok_or(Unable::Unwritable)?;
        Ok(vec![Step { call, uids: Vec::new(), moves_to: None, counts: true }])
    };
    let name = |mailbox: &str| Token::text(mailbox);
    match deed {
        Deed::Store { mode, labels, words, unchanged_since } => {
            let item = match (mode, labels) {
                (Mode::Add, false) => "+FLAGS.SILENT",
                (Mode::Remove, false) => "-FLAGS.SILENT",
                (Mode::Replace, false) => "FLAGS.SILENT",
                (Mode::Add, true) => "+X-GM-LABELS.SILENT",
                (Mode::Remove, true) => "-X-GM-LABELS.SILENT",
                (Mode::Replace, true) => "X-GM-LABELS.SILENT",
            };
            // Only on Gmail is a mark more than a mark.
            let soft = soft && server.gmail && !labels;
            let word = |word: &String| if *labels { gmail::written(word) } else { Token::atom(word) };
            let kept = |one: &&String| !soft || !one.eq_ignore_ascii_case("\\Deleted");
            let words: Vec<Token> = words.iter().filter(kept).map(word).collect();
            if !soft {
                return store(on, item, words, *unchanged_since, true);
            }
            if unchanged_since.is_some() {
                return Err(Unable::Conditional);
            }
            // Where the mark alone may remove for ever (Gmail), the Trash takes its place.
            let trash = server.trash.as_ref().ok_or(Unable::NoTrash)?;
            let others = !words.is_empty() || *mode == Mode::Replace;
            let mut all = if others { store(on, item, words, None, false)? } else { Vec::new() };
            all.extend(moving(on, server, trash)?);
            Ok(all)
        }
        Deed::Copy { to } => copies(on, "UID COPY", to, true),
        Deed::Move { to } => moving(on, server, to),
        Deed::Expunge => match (&server.trash, soft) {
            (None, true) => Err(Unable::NoTrash),
            (Some(trash), true) => {
                let mut all = store(on, "-FLAGS.SILENT", vec![Token::atom("\\Deleted")], None, false)?;
                all.extend(moving(on, server, trash)?);
                Ok(all)
            }
            (_, false) => expunge(on, server),
        },
        Deed::Create => whole("CREATE", &[name(&on.mailbox)]),
        Deed::Delete { .. } => match (trashed(&on.mailbox, server, stamp), soft) {
            (None, true) => Err(Unable::NoTrash),
            (Some(to), true) => whole("RENAME", &[name(&on.mailbox), name(&to)]),
            (_, false) => whole("DELETE", &[name(&on.mailbox)]),
        },
        Deed::Rename { to } => whole("RENAME", &[name(&on.mailbox), name(to)]),
        Deed::Subscribe { off } => whole(if *off { "UNSUBSCRIBE" } else { "SUBSCRIBE" }, &[name(&on.mailbox)]),
        Deed::SetAcl { who, rights: Some(rights) } => {
            whole("SETACL", &[name(&on.mailbox), Token::text(who.as_str()), Token::text(rights.as_str())])
        }
        Deed::SetAcl { who, rights: None } => whole("DELETEACL", &[name(&on.mailbox), Token::text(who.as_str())]),
        Deed::Setting { verb, args } => {
            let mut call = command(verb, None, &[]).ok_or(Unable::Unwritable)?;
            call.body = crate::call::CallBody::Bytes(bytes::Bytes::from(args.clone()));
            Ok(vec![Step { call, uids: Vec::new(), moves_to: None, counts: true }])
        }
    }
}

/// What a mailbox is called in the Trash.
#[must_use]
pub fn trashed(mailbox: &str, server: &Server, stamp: &str) -> Option<String> {
    let trash = server.trash.as_ref()?;
    let delimiter = server.delimiter?;
    let last = mailbox.rsplit(delimiter).next().unwrap_or(mailbox);
    Some(format!("{trash}{delimiter}{last}-{stamp}"))
}

/// The arguments of a setting as they will go over the wire, in one line.
#[must_use]
pub fn written(args: &[Token]) -> Option<String> {
    String::from_utf8(encode(args)?).ok().filter(|args| !args.contains(['\r', '\n']))
}

/// A change of flags on exactly these messages.
pub fn store(
    on: &On,
    item: &str,
    words: Vec<Token>,
    unchanged_since: Option<u64>,
    counts: bool,
) -> Result<Vec<Step>, Unable> {
    on_chunks(on, None, counts, |set| {
        let mut args = vec![Token::atom(set)];
        if let Some(modseq) = unchanged_since {
            args.push(Token::List(vec![Token::atom("UNCHANGEDSINCE"), Token::atom(modseq.to_string())]));
        }
        args.push(Token::atom(item));
        args.push(Token::List(words.clone()));
        ("UID STORE", args)
    })
}

fn copies(on: &On, verb: &'static str, to: &str, counts: bool) -> Result<Vec<Step>, Unable> {
    on_chunks(on, Some(to), counts, |set| (verb, vec![Token::atom(set), Token::text(to)]))
}

/// RFC 6851, or its three steps where the server has none.
pub fn moving(on: &On, server: &Server, to: &str) -> Result<Vec<Step>, Unable> {
    if server.moves {
        return copies(on, "UID MOVE", to, true);
    }
    let mut all = copies(on, "UID COPY", to, true)?;
    all.extend(store(on, "+FLAGS.SILENT", vec![Token::atom("\\Deleted")], None, false)?);
    all.extend(expunge(on, server)?.into_iter().map(|step| Step { counts: false, ..step }));
    Ok(all)
}

/// UID EXPUNGE of exactly these. A plain EXPUNGE would take what others marked meanwhile.
pub fn expunge(on: &On, server: &Server) -> Result<Vec<Step>, Unable> {
    if !server.uidplus {
        return Err(Unable::NoUidplus);
    }
    on_chunks(on, None, true, |set| ("UID EXPUNGE", vec![Token::atom(set)]))
}

fn on_chunks(
    on: &On,
    moves_to: Option<&str>,
    counts: bool,
    args: impl Fn(String) -> (&'static str, Vec<Token>),
) -> Result<Vec<Step>, Unable> {
    let chunks = chunks(&on.uids);
    if chunks.is_empty() {
        return Err(Unable::Nothing);
    }
    let step = |(uids, set): (Vec<u32>, super::set::Set)| {
        let (verb, args) = args(set.to_string());
        let call = command(verb, Some((&on.mailbox, on.uidvalidity)), &args).ok_or(Unable::Unwritable)?;
        Ok(Step { call, uids, moves_to: moves_to.map(str::to_owned), counts })
    };
    chunks.into_iter().map(step).collect()
}
