//! Words for people. Text from outside never reaches a menu, notification or dialog without [`visible`].

use jiff::Timestamp;
use latch_ipc::view::HoldView;
use latch_ipc::words;

/// What stands on the button that lets it happen: `Trash 12 messages`, `Delete 214 messages for ever`.
pub(crate) fn act(hold: &HoldView) -> String {
    visible(&words::act(&hold.verb, hold.count, &hold.noun))
}

/// `12 min left`; `None` when it is over or can't be read.
pub(crate) fn left(until: &str, now: Timestamp) -> Option<String> {
    let seconds = until.parse::<Timestamp>().ok()?.as_second().checked_sub(now.as_second())?;
    match seconds {
        ..=0 => None,
        1..=90 => Some(format!("{seconds} s left")),
        91..=7199 => Some(format!("{} min left", seconds / 60)),
        7200..=172_799 => Some(format!("{} h left", seconds / 3600)),
        _ => Some(format!("{} days left", seconds / 86_400)),
    }
}

/// `12 min`, since a moment that was; `None` if it can't be read.
pub(crate) fn ago(since: &str, now: Timestamp) -> Option<String> {
    let seconds = now.as_second().checked_sub(since.parse::<Timestamp>().ok()?.as_second())?.max(0);
    Some(match seconds {
        0..=90 => format!("{seconds} s"),
        91..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    })
}

/// Shows what could hide or reorder text as `‹U+202E›`, line ends as spaces, and domains outside ASCII as punycode.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut word = String::new();
    for letter in text.chars() {
        if in_domain(letter) {
            word.push(letter);
        } else {
            shown.push_str(&as_punycode(&word));
            word.clear();
            push_visible(&mut shown, letter);
        }
    }
    shown.push_str(&as_punycode(&word));
    shown
}

fn in_domain(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '.' || letter == '-'
}

fn as_punycode(word: &str) -> String {
    if word.is_ascii() || !word.trim_matches('.').contains('.') {
        return word.to_owned();
    }
    match url::Host::parse(word) {
        Ok(host) => host.to_string(),
        Err(_) => word.to_owned(),
    }
}

fn push_visible(shown: &mut String, letter: char) {
    match letter {
        '\n' | '\r' | '\t' => shown.push(' '),
        _ if hides(letter) => shown.push_str(&format!("‹U+{:04X}›", u32::from(letter))),
        _ => shown.push(letter),
    }
}

/// Control, bidi, zero-width, tag, filler and private-use characters.
fn hides(letter: char) -> bool {
    letter.is_control()
        || matches!(u32::from(letter),
            0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xE000..=0xF8FF | 0xFE00..=0xFE0E | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF | 0xF0000..)
}

/// For notification bodies, whose daemons read markup.
pub(crate) fn escaped(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hidden_text_becomes_visible() {
        for (raw, shown) in [
            ("invoice\u{202e}fdp.exe", "invoice‹U+202E›fdp.exe"),
            ("a\u{200b}b\u{feff}c", "a‹U+200B›b‹U+FEFF›c"),
            ("x\u{e0041}y", "x‹U+E0041›y"),
            ("one\r\ntwo\u{7}", "one  two‹U+0007›"),
            ("p\u{430}ypal.com pays", "xn--pypal-4ve.com pays"),
            ("Grüße aus Köln", "Grüße aus Köln"),
            ("<b>bold</b> & more", "<b>bold</b> & more"),
        ] {
            assert_eq!(visible(raw), shown, "{raw:?}");
        }
        assert_eq!(escaped("<a href='x'>Bank</a> & co"), "&lt;a href='x'&gt;Bank&lt;/a&gt; &amp; co");
    }

    #[test]
    fn times_read_well() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        assert_eq!(left("2026-11-22T08:12:00Z", now).unwrap(), "12 min left");
        assert_eq!(left("2026-11-22T07:12:00Z", now), None);
        assert_eq!(left("soon", now), None);
    }
}
