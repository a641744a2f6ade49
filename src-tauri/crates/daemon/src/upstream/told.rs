//! What is told of a server's own words: a beginning of them, and never with a piece of what we sent.

use zeroize::Zeroizing;

/// As much as is told, in characters.
const LONGEST: usize = 200;
/// A piece of a credential as long as this, in bytes, is not told.
const REPEATED: usize = 8;

/// The beginning of a server's words.
pub(super) fn cut(said: &str) -> String {
    said.chars().take(LONGEST).collect()
}

/// The same after a credential was sent, in these spellings: servers have been seen to repeat it.
pub(super) fn without(said: &str, sent: &[Zeroizing<String>]) -> String {
    if repeats(said, sent) { "(its words held the credential)".to_owned() } else { cut(said) }
}

/// Whether a text holds a piece of what was sent.
fn repeats(text: &str, sent: &[Zeroizing<String>]) -> bool {
    sent.iter().any(|one| {
        let piece = one.len().min(REPEATED);
        piece > 0
            && one.as_bytes().windows(piece).any(|piece| text.as_bytes().windows(piece.len()).any(|at| at == piece))
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn a_refusal_that_repeats_what_was_sent_is_not_told() {
        let password = "hunter2 \"and\\ more";
        let sent: Vec<Zeroizing<String>> = vec![
            Zeroizing::new(password.to_owned()),
            Zeroizing::new(BASE64_STANDARD.encode(format!("\0erin\0{password}"))),
            Zeroizing::new("abc".to_owned()),
        ];
        for told in
            ["Authentication failed.", "user erin is unknown", "", "[ALERT] Application-specific password required"]
        {
            assert!(!repeats(told, &sent), "{told}");
        }
        for told in [
            format!("bad: {password}"),
            format!("AUTHENTICATE PLAIN {}", BASE64_STANDARD.encode(format!("\0erin\0{password}"))),
            "you said hunter2 \"a".to_owned(),
            "abc is wrong".to_owned(),
        ] {
            assert!(repeats(&told, &sent), "{told}");
        }
    }
}
