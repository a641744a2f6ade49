#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn imap(uidvalidity: u32, uid: u32) -> Anchor {
    Anchor::Imap { uidvalidity, uid, everywhere: None }
}

fn watched() -> Kept {
    Kept { secret: Some("5ec2e7".to_owned()), anchor: Some(imap(7, 40)), nameless: false }
}

#[test]
fn a_mail_is_left_anchored_and_watched() {
    let mut kept = Kept::default();
    assert_eq!(kept.step(), Step::Leave);
    kept.begin("5ec2e7".to_owned());
    assert_eq!(kept.step(), Step::Find, "after a crash it may be there already");
    assert_eq!(kept.found(vec![imap(7, 40)]), Meaning::Anchored);
    assert_eq!(kept, watched());
    assert_eq!(kept.step(), Step::Look);
}

#[test]
fn a_mail_that_may_have_been_left_and_is_not_found_once_stops_everything() {
    for found in [Vec::new(), vec![imap(7, 40), imap(7, 41)]] {
        let mut kept = Kept::default();
        kept.begin("5ec2e7".to_owned());
        assert_eq!(kept.found(found), Meaning::Stop);
        assert_eq!(kept.step(), Step::Leave, "with another name");
    }
}

#[test]
fn where_a_mail_has_no_name_no_further_one_is_left() {
    let kept = Kept { nameless: true, anchor: None, ..watched() };
    assert_eq!(kept.step(), Step::Rest);
}

#[test]
fn what_a_look_means() {
    for (look, meaning, after) in [
        (Look::There, Meaning::Stays, watched()),
        (Look::Left, Meaning::Stop, Kept::default()),
        (Look::Renewed(vec![imap(8, 2)]), Meaning::Anchored, Kept { anchor: Some(imap(8, 2)), ..watched() }),
        (Look::Renewed(Vec::new()), Meaning::Stop, Kept::default()),
        (Look::Renewed(vec![imap(8, 2), imap(8, 3)]), Meaning::Stop, Kept::default()),
    ] {
        let mut kept = watched();
        assert_eq!(kept.saw(look.clone()), meaning, "{look:?}");
        assert_eq!(kept, after, "{look:?}");
    }
}

#[test]
fn it_is_known_by_its_place_and_by_nothing_else() {
    assert!(imap(7, 40).is("INBOX;7;40"));
    for other in ["INBOX;8;40", "Archive;7;40", "INBOX;7;4", "40", ""] {
        assert!(!imap(7, 40).is(other), "{other}");
    }
    let api = Anchor::Api { id: "m1".to_owned(), thread: Some("t1".to_owned()) };
    assert!(api.is("m1") && api.is("t1") && !api.is("m2"));
}

#[test]
fn the_mail_reads_like_this() {
    let date = "Sun, 22 Nov 2026 14:00:00 +0000";
    insta::assert_snapshot!(mail(&watched(), "mail", "desk-3", date).unwrap().replace("\r\n", "\n"));
    assert_eq!(mail(&Kept::default(), "mail", "desk-3", date), None);
    let odd = mail(&watched(), "mail", "desk\r\nBcc: eve@example.org", date).unwrap();
    assert!(!odd.contains("eve@") && odd.contains("on this computer is stopped"), "{odd}");
    insta::assert_snapshot!(reason("mail", "desk-3"));
}

#[test]
fn pauses_grow_to_a_minute() {
    let middle = |failures| pause(failures, 512).0;
    assert_eq!([1, 2, 3, 7, 1000].map(middle).map(|pause| (pause + 500) / 1000), [1, 2, 4, 60, 60]);
}

proptest! {
    #[test]
    fn a_pause_has_bounds_and_varies(failures: u32, random: u32) {
        let pause = pause(failures, random);
        prop_assert!(pause >= Span(750) && pause <= Span::seconds(75), "{pause:?}");
    }

    /// Whatever is seen: it stops exactly when the mail is not there, and never watches a mail that it does not know.
    #[test]
    fn it_stops_exactly_when_the_mail_left(looks in proptest::collection::vec((0_u8..3, 0_u32..3), 1..20)) {
        let mut kept = watched();
        for (kind, count) in looks {
            if kept.step() != Step::Look {
                kept.begin("other".to_owned());
                prop_assert_eq!(kept.found(vec![imap(7, 41)]), Meaning::Anchored);
            }
            let look = match kind {
                0 => Look::There,
                1 => Look::Left,
                _ => Look::Renewed((0..count).map(|uid| imap(9, uid + 1)).collect()),
            };
            let surely_there = matches!(&look, Look::There) || matches!(&look, Look::Renewed(found) if found.len() == 1);
            prop_assert_eq!(kept.saw(look) != Meaning::Stop, surely_there);
            prop_assert_eq!(kept.step() == Step::Look, surely_there);
        }
    }
}
