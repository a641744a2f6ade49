//! Where a mail ends (RFC 5321 section 4.5.2): at CRLF.CRLF and nowhere else.

/// Takes in what follows DATA, in pieces of any size, and takes the dots off that were added for the way.
///
/// A bare CR or LF is refused, not repaired: servers disagree about whether it ends a line, and so about where a mail ends. What was refused is still
/// read to its end, so that nothing of it is taken for a command.
#[derive(Debug)]
pub struct DataFrame {
    at: At,
    mail: Vec<u8>,
    limit: usize,
    flaw: Option<Flaw>,
}

/// Why what came after DATA is not taken as a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A carriage return or line feed without the other (RFC 5321 section 2.3.8).
    BareLineEnd,
    /// A zero byte (RFC 5321 section 4.5.2 has none in a mail).
    Zero,
    /// A line beyond [`LONGEST_LINE`].
    LongLine,
    /// More bytes than agreed.
    TooLarge,
    /// There is no room for it now.
    Crowded,
}

/// The longest line without its CRLF, in bytes. RFC 5321 section 4.5.3.1.6 says 998; mail in the wild goes further, servers take this much.
pub const LONGEST_LINE: usize = 16_384;

/// What the bytes since the last line end were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    /// A dot at the start of the line.
    Dot,
    /// That dot and a CR.
    DotCr,
    /// Within a line of this many bytes.
    Line(usize),
    /// A CR within a line of this many bytes.
    Cr(usize),
}

impl DataFrame {
    /// A frame for a mail of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { at: At::LineStart, mail: Vec::new(), limit, flaw: None }
    }

    /// Takes bytes in. Returns how many belong to the mail, its end included, and whether it ended; what follows is the next command.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (read, byte) in bytes.iter().enumerate() {
            if self.push(*byte) {
                return (read + 1, true);
            }
        }
        (bytes.len(), false)
    }

    /// The mail, or what is wrong with it.
    pub fn into_mail(self) -> Result<Vec<u8>, Flaw> {
        self.flaw.map_or(Ok(self.mail), Err)
    }

    /// Bytes that it holds now.
    #[must_use]
    pub fn size(&self) -> usize {
        self.mail.len()
    }

    fn push(&mut self, byte: u8) -> bool {
        self.at = match (self.at, byte) {
            (At::DotCr, b'\n') => return true,
            (At::LineStart, b'.') => At::Dot,
            (At::Dot, b'\r') => At::DotCr,
            (At::LineStart, b'\r') => At::Cr(0),
            (At::Line(length), b'\r') => At::Cr(length),
            (At::Cr(_), b'\n') => {
                self.keep(b"\r\n");
                At::LineStart
            }
            // A CR without LF. The line goes on, and the mail is refused at its end.
            (At::Cr(_) | At::DotCr, b'\r') => {
                self.refuse(Flaw::BareLineEnd);
                At::Cr(0)
            }
            (At::Cr(length), _) => {
                self.refuse(Flaw::BareLineEnd);
                self.within(length, byte)
            }
            (At::DotCr, _) => {
                self.refuse(Flaw::BareLineEnd);
                self.within(0, byte)
            }
            (At::LineStart | At::Dot, _) => self.within(0, byte),
            (At::Line(length), _) => self.within(length, byte),
        };
        false
    }

    fn within(&mut self, length: usize, byte: u8) -> At {
        match byte {
            b'\n' => self.refuse(Flaw::BareLineEnd),
            0 => self.refuse(Flaw::Zero),
            _ => {}
        }
        if length >= LONGEST_LINE {
            self.refuse(Flaw::LongLine);
        }
        self.keep(&[byte]);
        At::Line(length + 1)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.mail.len() + bytes.len() > self.limit {
            self.refuse(Flaw::TooLarge);
        }
        if self.flaw.is_none() {
            self.mail.extend_from_slice(bytes);
        }
    }

    /// Lets go of what came so far; the rest is read and not kept. The first flaw is the one that is told.
    pub fn refuse(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
        self.mail = Vec::new();
    }
}

/// A mail as it goes over the wire: dots doubled at line starts, and CRLF.CRLF after it (RFC 5321 section 4.5.2).
#[must_use]
pub fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + mail.len() / 64 + 5);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !mail.is_empty() && !mail.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
