//! An agent's ManageSieve command, understood or refused (RFC 5804 section 2).

use bytes::Bytes;

use super::{Change, MAX_SCRIPT, Stored, effects, reading, reading_part};
use crate::call::Call;
use crate::classify::imap::command::Hidden;
use crate::classify::imap::token::{From, Piece, Token, tokens};
use crate::operation::Operation;

/// The longest name of a script, in bytes (RFC 5804 section 1.6).
const LONGEST_NAME: usize = 512;

/// A command of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY.
    Capability,
    /// NOOP, with what it wants to be told back.
    Noop(Option<String>),
    /// LOGOUT.
    Logout,
    /// AUTHENTICATE.
    Authenticate {
        /// In capitals.
        mechanism: String,
        /// The initial response.
        initial: Option<Hidden>,
    },
    /// HAVESPACE.
    HaveSpace {
        /// Of a script of this name.
        name: String,
        /// In bytes.
        size: u64,
    },
    /// CHECKSCRIPT.
    Check {
        /// The text.
        script: Bytes,
    },
    /// LISTSCRIPTS.
    List,
    /// GETSCRIPT.
    Get {
        /// Which.
        name: String,
    },
    /// Anything that changes something.
    Change(Change),
}

impl Command {
    /// The call of a command that only reads; `None` if it is none, or is answered at the door.
    #[must_use]
    pub fn reading(&self) -> Option<Call> {
        let look = |verb, name: &str, headers, body| reading(verb, name, headers, body);
        match self {
            Self::Capability => look("CAPABILITY", "", Vec::new(), Bytes::new()),
            Self::List => look("LISTSCRIPTS", "", Vec::new(), Bytes::new()),
            Self::Get { name } => look("GETSCRIPT", name, Vec::new(), Bytes::new()),
            Self::Check { script } => look("CHECKSCRIPT", "", Vec::new(), script.clone()),
            Self::HaveSpace { name, size } => {
                look("HAVESPACE", name, vec![("size".to_owned(), size.to_string())], Bytes::new())
            }
            Self::Noop(_) | Self::Logout | Self::Authenticate { .. } | Self::Change(_) => None,
        }
    }
}

/// What a command would be. `there`: the text of the script that it names, if there is one; it runs, unless the command is to let it run.
/// `None`: it reaches no server.
#[must_use]
pub fn explained(command: &Command, there: Option<&[u8]>) -> Option<Operation> {
    let Command::Change(change) = command else {
        return command.reading().map(|call| reading_part(call).operation);
    };
    let named = match change {
        Change::Put { name, .. } | Change::Delete { name } | Change::Rename { name, .. } => Some(name),
        Change::Activate { name } => name.as_ref(),
    };
    let mut stored = match (named, there) {
        (Some(name), Some(there)) => Stored {
            scripts: [(name.clone(), there.to_vec())].into(),
            active: (!matches!(change, Change::Activate { .. })).then(|| name.clone()),
            names: vec![name.clone()],
        },
        _ => Stored::default(),
    };
    // Whether these are there nobody has looked.
    let script = if let Change::Put { script, .. } = change { script.as_slice() } else { there.unwrap_or_default() };
    stored.names.extend(effects(script).includes.into_iter().map(|include| include.name));
    Some(change.part(&stored).operation)
}

/// Why a command goes nowhere: what follows `NO `.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

const MALFORMED: Refused =
    Refused("\"Latchstring does not understand this command, so it went nowhere. Check its arguments.\"");

/// Reads a whole command.
pub fn parse(pieces: &[Piece]) -> Result<Command, Refused> {
    // RFC 5804 strings may hold UTF-8, which an IMAP agent's may not.
    let all = tokens(pieces, From::Upstream).ok_or(MALFORMED)?;
    let (verb, args) = all.split_first().ok_or(MALFORMED)?;
    match (verb.word().ok_or(MALFORMED)?.as_str(), args) {
        ("CAPABILITY", []) => Ok(Command::Capability),
        ("LOGOUT", []) => Ok(Command::Logout),
        ("NOOP", []) => Ok(Command::Noop(None)),
        ("NOOP", [tag]) => Ok(Command::Noop(Some(string(tag)?))),
        ("AUTHENTICATE", [mechanism]) => {
            Ok(Command::Authenticate { mechanism: string(mechanism)?.to_ascii_uppercase(), initial: None })
        }
        ("AUTHENTICATE", [mechanism, initial]) => Ok(Command::Authenticate {
            mechanism: string(mechanism)?.to_ascii_uppercase(),
            initial: Some(Hidden(string(initial)?)),
        }),
        ("HAVESPACE", [name, size]) => {
            Ok(Command::HaveSpace { name: script_name(name)?, size: size.number().ok_or(MALFORMED)? })
        }
        ("CHECKSCRIPT", [script]) => Ok(Command::Check { script: Bytes::from(text(script)?.to_vec()) }),
        ("LISTSCRIPTS", []) => Ok(Command::List),
        ("GETSCRIPT", [name]) => Ok(Command::Get { name: script_name(name)? }),
        ("PUTSCRIPT", [name, script]) => {
            Ok(Command::Change(Change::Put { name: script_name(name)?, script: text(script)?.to_vec() }))
        }
        ("SETACTIVE", [Token::Text(name)]) if name.is_empty() => Ok(Command::Change(Change::Activate { name: None })),
        ("SETACTIVE", [name]) => Ok(Command::Change(Change::Activate { name: Some(script_name(name)?) })),
        ("DELETESCRIPT", [name]) => Ok(Command::Change(Change::Delete { name: script_name(name)? })),
        ("RENAMESCRIPT", [name, to]) => {
            Ok(Command::Change(Change::Rename { name: script_name(name)?, to: script_name(to)? }))
        }
        ("STARTTLS", []) => Err(Refused("\"This door is on your own machine: it has no TLS. Log in.\"")),
        (
            "CAPABILITY" | "LOGOUT" | "NOOP" | "AUTHENTICATE" | "HAVESPACE" | "CHECKSCRIPT" | "LISTSCRIPTS"
            | "GETSCRIPT" | "PUTSCRIPT" | "SETACTIVE" | "DELETESCRIPT" | "RENAMESCRIPT" | "STARTTLS",
            _,
        ) => Err(MALFORMED),
        _ => Err(Refused("\"Latchstring does not offer this command.\"")),
    }
}

/// A command for the upstream, without its CRLF: literals are those that wait for nothing.
#[must_use]
pub fn command_line(verb: &str, strings: &[&[u8]], number: Option<u64>) -> Vec<u8> {
    let mut line = verb.as_bytes().to_vec();
    for text in strings {
        let plain = text.len() <= LONGEST_NAME
            && text.iter().all(|byte| (0x20..0x7f).contains(byte) && !b"\"\\".contains(byte));
        line.push(b' ');
        if plain {
            line.push(b'"');
            line.extend_from_slice(text);
            line.push(b'"');
        } else {
            line.extend_from_slice(format!("{{{}+}}\r\n", text.len()).as_bytes());
            line.extend_from_slice(text);
        }
    }
    if let Some(number) = number {
        line.extend_from_slice(format!(" {number}").as_bytes());
    }
    line
}

fn text(token: &Token) -> Result<&[u8], Refused> {
    match token {
        Token::Text(text) if text.len() > MAX_SCRIPT => {
            Err(Refused("(QUOTA/MAXSIZE) \"A script may have 256 KiB at most.\""))
        }
        Token::Text(text) if text.contains(&0) => Err(MALFORMED),
        Token::Text(text) => Ok(text),
        Token::Atom(_) | Token::List(_) => Err(MALFORMED),
    }
}

fn string(token: &Token) -> Result<String, Refused> {
    String::from_utf8(text(token)?.to_vec()).map_err(|_| MALFORMED)
}

/// RFC 5804 section 1.6: no control characters, no line or paragraph separators, not empty.
fn script_name(token: &Token) -> Result<String, Refused> {
    let name = string(token)?;
    let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(odd) {
        return Err(Refused("\"This can't be the name of a script.\""));
    }
    Ok(name)
}
