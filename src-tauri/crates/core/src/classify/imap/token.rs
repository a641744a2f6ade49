//! From bytes to tokens and back (RFC 9051 section 9: atom, quoted, literal, parenthesised list).
//!
//! One grammar reads what agents send and what upstreams answer. What goes upstream is written anew from tokens, so that nothing reaches an upstream in
//! a spelling that was not understood here.

use std::borrow::Cow;

/// How deep lists may be nested.
const MOST_DEPTH: usize = 16;
/// What a token takes in memory besides its bytes: itself, and what its own piece of the heap costs.
const PER_TOKEN: usize = 64;
/// Longer strings are written as literals (RFC 9051 section 4.3 leaves the limit to the server; every server takes this).
const MOST_QUOTED: usize = 512;

/// A stretch of a message: lines without their CRLF and without a literal's announcement, and the literals between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text of a line.
    Text(Vec<u8>),
    /// A literal's bytes.
    Literal(Vec<u8>),
}

/// A literal that a line's end announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Its length in bytes.
    pub size: u64,
    /// Whether its sender waits for `+` (RFC 7888: `{5}`, not `{5+}`).
    pub waits: bool,
    /// RFC 3516: `~{5}`, may hold NUL.
    pub binary: bool,
    /// Where in the line the announcement begins.
    pub at: usize,
}

/// The literal that this line, without its CRLF, announces.
#[must_use]
pub fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(open + 1..)?;
    let (digits, waits) = digits.strip_suffix(b"+").map_or((digits, true), |digits| (digits, false));
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let binary = open.checked_sub(1).and_then(|at| line.get(at)) == Some(&b'~');
    Some(Announced { size, waits, binary, at: if binary { open - 1 } else { open } })
}

/// Whether a line ends in what some reader takes for the announcement of a literal, whatever its size.
#[must_use]
pub fn seems_announced(line: &[u8]) -> bool {
    let Some(inner) = line.strip_suffix(b"}") else { return false };
    let digits =
        inner.iter().rposition(|byte| *byte == b'{').and_then(|open| inner.get(open + 1..)).unwrap_or_default();
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether a line that an upstream sent can announce a literal: human text after a status can end in anything (RFC 9051 section 7.1).
#[must_use]
pub fn may_announce(line: &[u8]) -> bool {
    let Some((first, rest)) = split_word(line) else { return false };
    if first == b"+" {
        return false;
    }
    let (second, _) = split_word(rest).unwrap_or((rest, b""));
    !["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(|status| second.eq_ignore_ascii_case(status.as_bytes()))
}

/// The first word and what follows its space.
pub(super) fn split_word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((line.get(..at)?, line.get(at + 1..)?))
}

/// A part of a command or response.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word, a flag, a fetch item with its section: printable ASCII.
    Atom(String),
    /// A quoted string or literal.
    Text(Vec<u8>),
    /// A parenthesised list.
    List(Vec<Token>),
}

impl std::fmt::Debug for Token {
    /// Without texts: one of them may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Atom(word) => write!(f, "Atom({} bytes)", word.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::List(items) => f.debug_list().entries(items).finish(),
        }
    }
}

impl Token {
    /// An atom.
    #[must_use]
    pub fn atom(word: impl Into<String>) -> Self {
        Self::Atom(word.into())
    }

    /// A string.
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    /// A list of atoms.
    #[must_use]
    pub fn atoms<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::List(words.into_iter().map(Self::atom).collect())
    }

    /// An atom's upper-case word.
    #[must_use]
    pub fn word(&self) -> Option<String> {
        match self {
            Self::Atom(word) => Some(word.to_ascii_uppercase()),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    /// What an `astring` says: an atom's or a string's bytes.
    #[must_use]
    pub fn astring(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(word) => Some(word.as_bytes()),
            Self::Text(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// What an `nstring` says as text; `None` for NIL and lists.
    #[must_use]
    pub fn nstring(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(String::from_utf8_lossy(text)),
            Self::Atom(word) if !word.eq_ignore_ascii_case("NIL") => Some(Cow::Borrowed(word)),
            Self::Atom(_) | Self::List(_) => None,
        }
    }

    /// A list's items.
    #[must_use]
    pub fn items(&self) -> Option<&[Token]> {
        match self {
            Self::List(items) => Some(items),
            Self::Atom(_) | Self::Text(_) => None,
        }
    }

    /// A number.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Atom(word) if word.bytes().all(|byte| byte.is_ascii_digit()) => word.parse().ok(),
            Self::Atom(_) | Self::Text(_) | Self::List(_) => None,
        }
    }
}

/// Whose bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// An agent's: nothing beyond ASCII outside of literals, no NUL anywhere.
    Agent,
    /// An upstream's: 8-bit text in quoted strings is taken as it is.
    Upstream,
}

/// Reads the tokens of a whole message; `None` if it is not one.
#[must_use]
pub fn tokens(pieces: &[Piece], from: From) -> Option<Vec<Token>> {
    let mut reader = Reader { pieces, piece: 0, at: 0, from, room: usize::MAX, crowded: false };
    let tokens = reader.list(0)?;
    reader.is_at_end().then_some(tokens)
}

/// A message has more tokens than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for all of it")]
pub struct Crowded;

/// The same with each token's own cost taken from `room`; its bytes are counted by whoever read them.
pub fn tokens_within(pieces: &[Piece], from: From, room: &mut usize) -> Result<Option<Vec<Token>>, Crowded> {
    let most = *room / PER_TOKEN;
    let mut reader = Reader { pieces, piece: 0, at: 0, from, room: most, crowded: false };
    let tokens = reader.list(0);
    if reader.crowded {
        return Err(Crowded);
    }
    *room -= most.saturating_sub(reader.room) * PER_TOKEN;
    Ok(tokens.filter(|_| reader.is_at_end()))
}

struct Reader<'a> {
    pieces: &'a [Piece],
    piece: usize,
    at: usize,
    from: From,
    /// So many tokens more.
    room: usize,
    crowded: bool,
}

impl Reader<'_> {
    fn is_at_end(&self) -> bool {
        self.piece >= self.pieces.len()
    }

    /// Takes the room of one token.
    fn take(&mut self) -> Option<()> {
        self.crowded |= self.room == 0;
        self.room = self.room.checked_sub(1)?;
        Some(())
    }

    /// The next byte of text. A literal is not a byte: the text ends there.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.pieces.get(self.piece)? {
                Piece::Text(text) => match text.get(self.at) {
                    Some(byte) => return Some(*byte),
                    None => {
                        self.piece += 1;
                        self.at = 0;
                    }
                },
                Piece::Literal(_) => return None,
            }
        }
    }

    fn literal(&mut self) -> Option<Option<Vec<u8>>> {
        match self.pieces.get(self.piece) {
            Some(Piece::Literal(bytes)) => {
                if self.from == From::Agent && bytes.contains(&0) {
                    return None;
                }
                let bytes = bytes.clone();
                self.piece += 1;
                self.at = 0;
                Some(Some(bytes))
            }
            _ => Some(None),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Token>> {
        if depth > MOST_DEPTH {
            return None;
        }
        let mut items = Vec::new();
        let mut apart = true;
        loop {
            match self.peek() {
                Some(b' ') => {
                    self.at += 1;
                    apart = true;
                }
                Some(b')') => return Some(items),
                Some(b'(') => {
                    self.at += 1;
                    self.take()?;
                    let inner = self.list(depth + 1)?;
                    if self.peek()? != b')' {
                        return None;
                    }
                    self.at += 1;
                    items.push(Token::List(inner));
                    // `(a)(b)` stands in envelopes and body structures.
                    apart = true;
                }
                Some(_) if !apart => return None,
                Some(b'"') => {
                    self.take()?;
                    items.push(Token::Text(self.quoted()?));
                    apart = false;
                }
                Some(_) => {
                    self.take()?;
                    items.push(Token::Atom(self.atom()?));
                    apart = false;
                }
                None => match self.literal()? {
                    Some(_) if !apart => return None,
                    Some(bytes) => {
                        self.take()?;
                        items.push(Token::Text(bytes));
                        apart = false;
                    }
                    None => return Some(items),
                },
            }
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(text),
                b'\\' => {
                    let escaped = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'))?;
                    self.at += 1;
                    text.push(escaped);
                }
                0 | b'\r' | b'\n' => return None,
                0x80.. if self.from == From::Agent => return None,
                other => text.push(other),
            }
        }
    }

    /// A word. The section of a FETCH item may hold spaces, lists and quoted strings: `BODY[HEADER.FIELDS (DATE "FROM")]<0.9>`.
    fn atom(&mut self) -> Option<String> {
        let mut word = String::new();
        let mut inside = false;
        loop {
            let byte = match self.peek() {
                Some(byte) => byte,
                None if inside => return None,
                None => break,
            };
            match byte {
                b'[' if inside => return None,
                b'[' => inside = has_section(&word),
                b']' => inside = false,
                b' ' | b'(' | b')' if inside => {}
                b' ' | b'(' | b')' => break,
                b'"' if inside => {
                    word.push('"');
                    for byte in self.quoted()? {
                        if !(0x20..0x7f).contains(&byte) || matches!(byte, b'"' | b'\\' | b'[' | b']') {
                            return None;
                        }
                        word.push(char::from(byte));
                    }
                    word.push('"');
                    continue;
                }
                b'"' | b'{' => return None,
                0x21..=0x7e => {}
                _ => return None,
            }
            word.push(char::from(byte));
            self.at += 1;
        }
        (!word.is_empty()).then_some(word)
    }
}

/// Whether a bracket after this word begins a section. After any other word it is a letter like any other (RFC 9051 section 9, `atom`).
fn has_section(word: &str) -> bool {
    ["BODY", "BODY.PEEK", "BINARY", "BINARY.PEEK", "BINARY.SIZE"].iter().any(|item| word.eq_ignore_ascii_case(item))
}

/// Writes tokens: strings quoted where that is possible, as literals otherwise. A literal is announced as one that waits; see [`pieces`].
/// `None` if an atom in it would be read as anything but this one atom.
#[must_use]
pub fn encode(tokens: &[Token]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(tokens, &mut out)?;
    Some(out)
}

/// Whether a word stands for itself without quotes: this is decided by what reads it.
fn is_atom(word: &str) -> bool {
    let alone = [Piece::Text(word.as_bytes().to_vec())];
    matches!(tokens(&alone, From::Agent).as_deref(), Some([Token::Atom(same)]) if same == word)
}

fn write(tokens: &[Token], out: &mut Vec<u8>) -> Option<()> {
    for (index, token) in tokens.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match token {
            Token::Atom(word) if is_atom(word) => out.extend_from_slice(word.as_bytes()),
            Token::Atom(_) => return None,
            Token::Text(text) => write_text(text, out),
            Token::List(items) => {
                out.push(b'(');
                write(items, out)?;
                out.push(b')');
            }
        }
    }
    Some(())
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    if text.len() > MOST_QUOTED || !text.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Takes apart what [`encode`] wrote; `None` if it did not. A line break of any kind outside of a literal would begin another command.
#[must_use]
pub fn pieces(mut bytes: &[u8]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let breaks = |line: &[u8]| line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    loop {
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
            pieces.push(Piece::Text(bytes.to_vec()));
            return (!breaks(bytes)).then_some(pieces);
        };
        let line = bytes.get(..end).filter(|line| !breaks(line))?;
        let literal = announced(line)?;
        let (from, size) = (end + 2, usize::try_from(literal.size).ok()?);
        pieces.push(Piece::Text(line.get(..literal.at)?.to_vec()));
        pieces.push(Piece::Literal(bytes.get(from..from.checked_add(size)?)?.to_vec()));
        bytes = bytes.get(from + size..)?;
    }
}
