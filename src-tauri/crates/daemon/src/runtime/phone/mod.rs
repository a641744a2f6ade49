//! Stop from the phone: leaves the mail ([`latch_core::phone`]), watches it and stops everything when it leaves the inbox.
//!
//! ```text
//!   phone.stop on ── keep_phone, one task an account ── Place (a mail server, an API): find, leave, look, wait
//!                        │ lost: offline, told, tried again        └ left the inbox ──> panic
//!                        └ everything is stopped: rests until Resume, then leaves a new mail
//! ```

mod api;
mod imap;
mod place;
mod switch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use latch_core::guard::record;
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_core::phone::{self, Kept, Meaning, Step};
use latch_ipc::contract::EventKind;
use tokio::sync::watch;

use self::place::{How, Over, Place};
use super::documents::Documents;
use super::{Opened, Runtime, lock};

/// How long a mailbox that said no is left alone: each time twice as long, up to four hours. Wrong passwords again and again lock accounts.
const REFUSED: Duration = Duration::from_secs(15 * 60);
const MOST_DOUBLED: u32 = 4;
/// How often a mail that was just left is searched for, a second apart.
const SEARCHES: u32 = 5;
const NAMELESS: &str = "the mail was left, but the provider does not say which one it is: switch the phone stop off, delete the mail, and switch it on to try again";
/// Before it is found out whether everything is still stopped.
const REST: Duration = Duration::from_millis(100);

/// Every account whose stop mail is on.
#[derive(Debug)]
pub(crate) struct Phones {
    all: Mutex<All>,
    /// Moves on whenever one of them is switched on or off, or its state changes.
    moved: watch::Sender<u64>,
    /// Held while one is switched.
    switching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct All {
    turns: u64,
    watched: BTreeMap<String, Watched>,
}

#[derive(Debug, Clone)]
struct Watched {
    /// Tells this one from one that was switched off before.
    turn: u64,
    kept: Kept,
    link: Link,
    /// Wall time since when.
    since: u64,
}

/// Whether the mail is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    Starting,
    Watching(How),
    Offline(String),
}

impl Phones {
    /// What was stored.
    pub(super) fn load(stored: &Documents<'_>, wall: u64) -> Self {
        let phones =
            Self { all: Mutex::default(), moved: watch::Sender::new(0), switching: tokio::sync::Mutex::default() };
        for (id, value) in stored.shelf(Shelf::Phone) {
            // One that can't be read is left anew, after the person has seen why nothing runs.
            let kept = stored.read(serde_json::from_value(value.clone()).ok()).unwrap_or_default();
            phones.switch_on(id, kept, wall);
        }
        phones
    }

    /// The mails that are known, for the Guard.
    pub(crate) fn anchors(&self) -> BTreeMap<String, phone::Anchor> {
        let all = lock(&self.all);
        let known = |(id, one): (&String, &Watched)| Some((id.clone(), one.kept.anchor.clone()?));
        all.watched.iter().filter_map(known).collect()
    }

    fn switch_on(&self, id: &str, kept: Kept, wall: u64) -> u64 {
        let turn = {
            let mut all = lock(&self.all);
            all.turns = all.turns.saturating_add(1);
            let turn = all.turns;
            all.watched.insert(id.to_owned(), Watched { turn, kept, link: Link::Starting, since: wall });
            turn
        };
        self.tell();
        turn
    }

    fn switch_off(&self, id: &str) -> Option<Kept> {
        let gone = lock(&self.all).watched.remove(id);
        self.tell();
        gone.map(|one| one.kept)
    }

    fn tell(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn get(&self, id: &str) -> Option<Watched> {
        lock(&self.all).watched.get(id).cloned()
    }

    /// What is kept, as long as it was not switched off.
    fn kept(&self, id: &str, turn: u64) -> Option<Kept> {
        self.get(id).filter(|one| one.turn == turn).map(|one| one.kept)
    }

    fn keep(&self, id: &str, turn: u64, kept: &Kept) {
        let mut all = lock(&self.all);
        if let Some(one) = all.watched.get_mut(id).filter(|one| one.turn == turn) {
            one.kept.clone_from(kept);
        }
    }

    /// The former state, if it is another one now.
    fn link(&self, id: &str, turn: u64, link: Link, wall: u64) -> Option<Link> {
        let former = {
            let mut all = lock(&self.all);
            let one = all.watched.get_mut(id).filter(|one| one.turn == turn && one.link != link)?;
            // Another reason for the same is no other state.
            let same = matches!((&one.link, &link), (Link::Offline(_), Link::Offline(_)));
            let former = std::mem::replace(&mut one.link, link);
            if same {
                return None;
            }
            one.since = wall;
            former
        };
        self.tell();
        Some(former)
    }

    /// Resolves when it was switched off.
    async fn off(&self, id: &str, turn: u64) {
        let mut moved = self.moved.subscribe();
        while self.kept(id, turn).is_some() {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The document that is stored.
fn put(id: &str, kept: &Kept) -> Put {
    Put { shelf: Shelf::Phone, id: id.to_owned(), value: serde_json::to_value(kept).unwrap_or_default() }
}

/// What this computer is called.
fn machine() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

impl Runtime {
    /// Begins to watch every account whose stop mail is on.
    pub(crate) fn watch_phones(self: &Arc<Self>) {
        let Some(opened) = self.opened() else { return };
        let all: Vec<(String, u64)> =
            lock(&opened.phones.all).watched.iter().map(|(id, one)| (id.clone(), one.turn)).collect();
        for (id, turn) in all {
            self.tasks.spawn_light(Arc::clone(self).keep_phone(id, turn));
        }
    }

    /// Watches one mail until it is switched off.
    async fn keep_phone(self: Arc<Self>, id: String, turn: u64) {
        let Some(opened) = self.opened() else { return };
        let mut ended = self.ended();
        let watching = async {
            let (mut failures, mut refusals): (u32, u32) = (0, 0);
            while !self.tasks.is_ending() {
                self.not_stopped(opened).await;
                let over = self.watch_phone(opened, &id, turn).await;
                let worked = matches!(opened.phones.get(&id).map(|one| one.link), Some(Link::Watching(_)));
                if worked {
                    (failures, refusals) = (0, 0);
                }
                match over {
                    Over::Rest => tokio::time::sleep(REST).await,
                    Over::Lost(why) | Over::Unstored(why) => {
                        self.phone_link(opened, &id, turn, Link::Offline(why)).await;
                        failures = failures.saturating_add(1);
                        tokio::time::sleep(Duration::from_millis(phone::pause(failures, random()).0)).await;
                    }
                    Over::Refused(why) => {
                        self.phone_link(opened, &id, turn, Link::Offline(why)).await;
                        tokio::time::sleep(REFUSED.saturating_mul(1 << refusals.min(MOST_DOUBLED))).await;
                        refusals = refusals.saturating_add(1);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = opened.phones.off(&id, turn) => {}
            _ = ended.wait_for(|ended| *ended) => {}
            () = watching => {}
        }
    }

    /// Resolves as soon as the guard may look after its own.
    async fn not_stopped(&self, opened: &Opened) {
        let mut changed = opened.changed.subscribe();
        while opened.guard().watch_epoch().is_err() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    async fn watch_phone(self: &Arc<Self>, opened: &Opened, id: &str, turn: u64) -> Over {
        let Some(account) = opened.account(id) else {
            let why = "the account can't be used at present: remove it and add it again";
            return Over::Lost(why.to_owned());
        };
        let Ok(epoch) = opened.guard().watch_epoch() else { return Over::Rest };
        if account.target.is_mail() {
            match imap::Mailbox::open(self, opened, &account, epoch).await {
                Ok(mut place) => self.watch(opened, id, turn, &mut place).await,
                Err(over) => over,
            }
        } else {
            match api::Inbox::open(self, opened, &account, epoch) {
                Ok(mut place) => self.watch(opened, id, turn, &mut place).await,
                Err(over) => over,
            }
        }
    }

    /// Leaves the mail if need be, and looks at it again and again.
    async fn watch<P: Place>(self: &Arc<Self>, opened: &Opened, id: &str, turn: u64, place: &mut P) -> Over {
        loop {
            let Some(kept) = opened.phones.kept(id, turn) else { return Over::Rest };
            let done = match (kept.step(), kept.name(), kept.anchor.clone()) {
                (Step::Look, Some(name), Some(anchor)) => match place.look(&name, &anchor).await {
                    Ok(look) => {
                        let text = "the mail was found again in an inbox that was made anew";
                        let (mut kept, meaning) = (kept, look);
                        let meaning = kept.saw(meaning);
                        self.means(opened, (id, turn), kept, meaning, text).await
                    }
                    Err(over) => Err(over),
                },
                (Step::Rest, ..) => Err(Over::Refused(NAMELESS.to_owned())),
                _ => self.leave(opened, id, turn, kept, place).await,
            };
            let done = match done {
                Ok(false) => continue,
                Ok(true) => {
                    self.phone_link(opened, id, turn, Link::Watching(place.how())).await;
                    place.wait().await
                }
                Err(over) => Err(over),
            };
            if let Err(over) = done {
                return over;
            }
        }
    }

    /// True if it is known which mail it is now, and that it was there.
    async fn means(
        self: &Arc<Self>,
        opened: &Opened,
        (id, turn): (&str, u64),
        kept: Kept,
        meaning: Meaning,
        text: &str,
    ) -> Result<bool, Over> {
        match meaning {
            Meaning::Stays => Ok(true),
            Meaning::Anchored => {
                self.keep_anchor_of(opened, id, turn, &kept, text).await?;
                Ok(true)
            }
            Meaning::Stop => {
                // Switched off meanwhile: we took it away ourselves.
                if opened.phones.kept(id, turn).is_none() {
                    return Err(Over::Rest);
                }
                let (runtime, why, stored) = (Arc::clone(self), phone::reason(id, &machine()), put(id, &kept));
                let stopped = tokio::task::spawn_blocking(move || runtime.panic_with(&why, vec![stored])).await;
                if !matches!(stopped, Ok(Ok(_))) {
                    tracing::error!("the stop from the phone is in force, but could not be recorded");
                }
                opened.phones.keep(id, turn, &kept);
                opened.guard().set_stop_mail(id, None);
                opened.phones.link(id, turn, Link::Starting, opened.now().wall);
                Err(Over::Rest)
            }
        }
    }

    /// Finds the mail that may have been left before, or leaves one. Looked at next.
    async fn leave<P: Place>(
        self: &Arc<Self>,
        opened: &Opened,
        id: &str,
        turn: u64,
        mut kept: Kept,
        place: &mut P,
    ) -> Result<bool, Over> {
        if kept.step() == Step::Find {
            let name = kept.name().ok_or(Over::Rest)?;
            let meaning = kept.found(place.find(&name).await?);
            let text = "the mail that stops everything was found";
            return self.means(opened, (id, turn), kept, meaning, text).await.map(|_| false);
        }
        kept.begin(secret().ok_or_else(|| Over::Lost("the operating system gave no random numbers".to_owned()))?);
        self.keep_durably(opened, id, turn, &kept).await?;
        let name = kept.name().ok_or(Over::Rest)?;
        let mail = phone::mail(&kept, id, &machine(), &date(opened)).ok_or(Over::Rest)?;
        let anchor = match place.leave(&mail).await {
            Ok(Some(anchor)) => Some(anchor),
            Ok(None) => only(place, &name).await?,
            Err(over) => {
                if matches!(over, Over::Refused(_) | Over::Unstored(_)) {
                    self.keep_durably(opened, id, turn, &Kept::default()).await?;
                }
                // The reason is that everything is stopped, not that the mailbox can't be reached.
                let is_stopped = matches!(over, Over::Unstored(_)) && opened.guard().watch_epoch().is_err();
                return Err(if is_stopped { Over::Rest } else { over });
            }
        };
        if anchor.is_none() {
            kept.nameless = true;
            self.keep_durably(opened, id, turn, &kept).await?;
            return Err(Over::Refused(NAMELESS.to_owned()));
        }
        kept.anchor = anchor;
        self.keep_anchor_of(opened, id, turn, &kept, "a mail that stops everything was left in the inbox").await?;
        Ok(false)
    }

    async fn keep_durably(&self, opened: &Opened, id: &str, turn: u64, kept: &Kept) -> Result<(), Over> {
        if opened.phones.kept(id, turn).is_none() {
            return Err(Over::Rest);
        }
        let commit = Commit { puts: vec![put(id, kept)], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| Over::Lost(error.to_string()))?;
        opened.phones.keep(id, turn, kept);
        Ok(())
    }

    /// From here on no agent reaches the mail, and it is watched.
    async fn keep_anchor_of(&self, opened: &Opened, id: &str, turn: u64, kept: &Kept, text: &str) -> Result<(), Over> {
        if opened.phones.kept(id, turn).is_none() {
            return Err(Over::Rest);
        }
        opened.guard().set_stop_mail(id, kept.anchor.clone());
        let mut change = record(opened.now(), Kind::Change, text);
        change.account = Some(id.to_owned());
        let commit = Commit { records: vec![change], puts: vec![put(id, kept)], ..Commit::default() };
        opened.store.commit(commit).await.map_err(|error| Over::Lost(error.to_string()))?;
        opened.phones.keep(id, turn, kept);
        Ok(())
    }

    /// Takes in whether the mail is watched; the person hears of a change.
    async fn phone_link(&self, opened: &Opened, id: &str, turn: u64, link: Link) {
        let now = opened.now();
        let text = match &link {
            Link::Starting => None,
            Link::Watching(_) => Some(format!("The phone stop of {id} works.")),
            Link::Offline(why) => Some(format!(
                "The phone stop of {id} is offline: {why}. Moving the mail stops nothing until its mailbox can be reached again; it is tried again and again."
            )),
        };
        let Some(former) = opened.phones.link(id, turn, link, now.wall) else { return };
        // That it works is news only where it did not.
        let heard = text.filter(|_| former != Link::Starting || self.is_offline(opened, id));
        if let Some(text) = &heard {
            let mut alert = record(now, Kind::Alert, text.clone());
            alert.account = Some(id.to_owned());
            let _ = opened.store.commit(Commit { records: vec![alert], ..Commit::default() }).await;
        }
        self.tell(EventKind::PhoneChanged, Some(id.to_owned()), heard);
    }

    fn is_offline(&self, opened: &Opened, id: &str) -> bool {
        opened.phones.get(id).is_some_and(|one| matches!(one.link, Link::Offline(_)))
    }
}

/// The one mail of this name, as soon as a search finds it.
async fn only<P: Place>(place: &mut P, name: &str) -> Result<Option<phone::Anchor>, Over> {
    for _ in 0..SEARCHES {
        let mut found = place.find(name).await?;
        if let (Some(anchor), true) = (found.pop(), found.is_empty()) {
            return Ok(Some(anchor));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(None)
}

fn random() -> u32 {
    let mut bytes = [0_u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_be_bytes(bytes),
        Err(_) => 0,
    }
}

/// 128 random bits in hex.
fn secret() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

/// Now, as mails say it (RFC 2822).
fn date(opened: &Opened) -> String {
    let now = i64::try_from(opened.now().wall).ok().and_then(|wall| jiff::Timestamp::from_millisecond(wall).ok());
    let now = now.unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&now).unwrap_or_default()
}
