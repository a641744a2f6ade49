//! Readers that know nothing of ours: what another program would see in the same bytes.

use latch_core::classify::imap::token::Token;

/// The words of one command as a mail server reads them (RFC 9051 section 9); `None` if it is not exactly one whole command. Only in a FETCH do brackets
/// hold more than one word.
pub fn command(bytes: &[u8]) -> Option<Vec<Token>> {
    let fetch = bytes.split(|byte| *byte == b' ').skip(1).take(2).any(|word| word.eq_ignore_ascii_case(b"FETCH"));
    let mut eyes = Eyes { bytes, at: 0, fetch };
    let words = eyes.words()?;
    (eyes.rest() == b"\r\n").then_some(words)
}

struct Eyes<'a> {
    bytes: &'a [u8],
    at: usize,
    fetch: bool,
}

impl Eyes<'_> {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn words(&mut self) -> Option<Vec<Token>> {
        let mut words = Vec::new();
        loop {
            match self.rest().first()? {
                b'\r' | b')' => return Some(words),
                b' ' => self.at += 1,
                b'(' => {
                    self.at += 1;
                    let inner = self.words()?;
                    if *self.rest().first()? != b')' {
                        return None;
                    }
                    self.at += 1;
                    words.push(Token::List(inner));
                }
                b'"' => {
                    words.push(Token::Text(self.quoted()?));
                    self.apart()?;
                }
                b'{' => {
                    let end = self.rest().iter().position(|byte| *byte == b'}')?;
                    let size: usize = std::str::from_utf8(&self.rest()[1..end]).ok()?.parse().ok()?;
                    if self.rest().get(end + 1..end + 3)? != b"\r\n" {
                        return None;
                    }
                    words.push(Token::Text(self.rest().get(end + 3..(end + 3).checked_add(size)?)?.to_vec()));
                    self.at += end + 3 + size;
                    self.apart()?;
                }
                _ => words.push(Token::Atom(self.atom()?)),
            }
        }
    }

    /// After a string comes a space or an end.
    fn apart(&self) -> Option<()> {
        matches!(self.rest().first()?, b' ' | b')' | b'\r').then_some(())
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            self.at += 1;
            match self.rest().first()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    text.push(*self.rest().first().filter(|byte| b"\\\"".contains(byte))?);
                }
                0 | b'\r' | b'\n' | 0x80.. => return None,
                other => text.push(*other),
            }
        }
        self.at += 1;
        Some(text)
    }

    fn atom(&mut self) -> Option<String> {
        let start = self.at;
        let mut inside = false;
        loop {
            match self.rest().first()? {
                b'[' if self.fetch => inside = true,
                b']' => inside = false,
                b'"' if inside => {
                    self.quoted()?;
                    continue;
                }
                b' ' | b'(' | b')' if inside => {}
                b' ' | b'(' | b')' | b'\r' => break,
                b'"' | b'{' => return None,
                0x21..=0x7e => {}
                _ => return None,
            }
            self.at += 1;
        }
        (self.at > start).then(|| String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned())
    }
}

/// A response as a client frames it: lines without CRLF, and the literals between them.
pub type Response = Vec<Vec<u8>>;

/// The whole responses in these bytes, and whether something was left over. A line's end announces a literal whatever else the line says, as with
/// Python's imaplib; nothing but CRLF ends a line.
pub fn responses(bytes: &[u8]) -> (Vec<Response>, bool) {
    let (mut all, mut one, mut rest) = (Vec::new(), Vec::new(), bytes);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..end];
        rest = &rest[end + 2..];
        one.push(line.to_vec());
        match literal(line) {
            Some(size) if size <= rest.len() => {
                one.push(rest[..size].to_vec());
                rest = &rest[size..];
            }
            Some(_) => return (all, true),
            None => all.push(std::mem::take(&mut one)),
        }
    }
    (all, !rest.is_empty() || !one.is_empty())
}

/// A response as it came.
pub fn joined(response: &Response) -> Vec<u8> {
    let piece =
        |(at, piece): (usize, &Vec<u8>)| if at % 2 == 0 { [piece, &b"\r\n"[..]].concat() } else { piece.clone() };
    response.iter().enumerate().flat_map(piece).collect()
}

fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let digits = &inner[inner.iter().rposition(|byte| *byte == b'{')? + 1..];
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX))
}

/// Where mail servers have been seen to end a mail (RFC 5321 section 4.1.1.4 knows the first one only).
const ENDS: [&[u8]; 9] =
    [b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n"];

/// The first place after DATA where any server could end the mail.
pub fn end_of_mail(wire: &[u8]) -> Option<usize> {
    // A line begins with what follows DATA.
    let wire = [b"\r\n", wire].concat();
    (0..wire.len()).find_map(|at| {
        let longest = ENDS.iter().filter(|end| wire[at..].starts_with(end)).map(|end| end.len()).max();
        longest.map(|length| at + length - 2)
    })
}

/// A mail without the dots that were added for the way.
pub fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let text = wire.strip_suffix(b".\r\n").unwrap_or(wire);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line).to_vec()).collect()
}

/// The words of one ManageSieve command to a server, or of one answer, as RFC 5804 section 4 has them; `None` if it is not exactly one. `plus`: what stands
/// behind the size of a literal, which only a client writes.
pub fn sieve(bytes: &[u8], plus: &str) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut rest) = (Vec::new(), bytes);
    loop {
        match *rest.first()? {
            b'\r' => return (rest == b"\r\n").then_some(words),
            b' ' => rest = &rest[1..],
            bracket @ (b'(' | b')') => {
                words.push(vec![bracket]);
                rest = &rest[1..];
            }
            b'"' => {
                let (mut text, mut at) = (Vec::new(), 1);
                while *rest.get(at)? != b'"' {
                    at += usize::from(rest[at] == b'\\');
                    text.push(*rest.get(at).filter(|byte| !b"\0\r\n".contains(byte))?);
                    at += 1;
                }
                rest = &rest[at + 1..];
                words.push(text);
                b" )\r".contains(rest.first()?).then_some(())?;
            }
            b'{' => {
                let end = rest.windows(3).position(|end| end == b"}\r\n")?;
                let digits = std::str::from_utf8(&rest[1..end]).ok()?.strip_suffix(plus)?;
                let size: usize = Some(digits).filter(|digits| !digits.starts_with('+'))?.parse().ok()?;
                words.push(rest.get(end + 3..(end + 3).checked_add(size)?)?.to_vec());
                rest = &rest[end + 3 + size..];
                b" )\r".contains(rest.first()?).then_some(())?;
            }
            _ => {
                let end = rest.iter().position(|byte| b" ()\r\"{".contains(byte))?;
                let word = &rest[..end];
                (end > 0 && word.iter().all(u8::is_ascii_graphic)).then_some(())?;
                words.push(word.to_vec());
                rest = &rest[end..];
                b" ()\r".contains(rest.first()?).then_some(())?;
            }
        }
    }
}
