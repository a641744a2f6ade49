//! What is told of a server's own words: a beginning of them, and never with a piece of what we sent.

use zeroize::Zeroizing;

use super::sasl::encoded;

/// As much as is told, in characters.
const LONGEST: usize = 200;
/// A piece of a credential as long as this, in bytes, is not told.
const REPEATED: usize = 8;

/// The beginning of a server's words.
pub(super) fn cut(said: &str) -> String {
    said.chars().take(LONGEST).collect()
}

/// A credential in every spelling in which it was sent: servers have been seen to repeat it.
#[derive(Default)]
pub(super) struct Sent(Vec<Zeroizing<String>>);

impl Sent {
    /// It is about to be sent: as it is, inside quotes, or encoded.
    pub(super) fn secret(&mut self, text: &str) {
        let quoted = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
        self.0.extend([Zeroizing::new(text.to_owned()), quoted, encoded(text)]);
    }

    /// A text around it is about to be sent, encoded.
    pub(super) fn around(&mut self, text: &str) {
        self.0.push(encoded(text));
    }

    /// The beginning of what the server said to it, if no piece of it is in there.
    pub(super) fn without(&self, said: &str) -> String {
        if self.is_in(said) { "(its words held the credential)".to_owned() } else { cut(said) }
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|one| {
            let piece = one.len().min(REPEATED);
            piece > 0
                && one.as_bytes().windows(piece).any(|piece| text.as_bytes().windows(piece.len()).any(|at| at == piece))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::sasl::plain;

    #[test]
    fn a_refusal_that_repeats_what_was_sent_is_not_told() {
        let password = "hunter2 \"and\\ more";
        let mut sent = Sent::default();
        sent.secret(password);
        sent.around(&plain("erin", password));
        sent.secret("abc");
        for told in
            ["Authentication failed.", "user erin is unknown", "", "[ALERT] Application-specific password required"]
        {
            assert_eq!(sent.without(told), told);
        }
        for told in [
            format!("bad: {password}"),
            format!("AUTHENTICATE PLAIN {}", *encoded(&plain("erin", password))),
            "LOGIN erin \"hunter2 \\\"and\\\\ more\"".to_owned(),
            "you said hunter2 \"a".to_owned(),
            "abc is wrong".to_owned(),
        ] {
            assert_eq!(sent.without(&told), "(its words held the credential)", "{told}");
        }
    }
}
