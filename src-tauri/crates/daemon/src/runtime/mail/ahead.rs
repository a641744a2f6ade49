//! A mail that is read whole before anything is decided about it: however it comes, it takes no more room than has come of it, one for each agent, and not for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::append::OTHERS;
use crate::runtime::lock;
use crate::spool::{Kept, SPOOL_ABOVE, Spool, SpoolError, Turn};
use crate::upstream::imap::Source;

/// How long a mail may take to arrive: the largest at half a mebibyte a second, from a program on this machine.
const ARRIVING: Duration = Duration::from_secs(120);

/// The agents whose mail is being read.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Ahead {
    /// Waits a little for the agent's other mail; `None` if that goes on.
    pub(super) async fn turn(&self, agent: &str) -> Option<OwnedMutexGuard<()>> {
        let own = {
            let mut all = lock(&self.0);
            all.retain(|_, own| Arc::strong_count(own) > 1);
            Arc::clone(all.entry(agent.to_owned()).or_default())
        };
        tokio::time::timeout(OTHERS, own.lock_owned()).await.ok()
    }
}

/// Why a mail was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It broke off.
    Broken,
    /// Something follows it.
    Longer,
    /// It did not come in time.
    Late,
    /// There is no room for it.
    Room(SpoolError),
}

enum Arrived {
    Small(Vec<u8>),
    Aside(Kept),
}

/// The whole mail, and the room in memory that a large one takes.
pub(super) async fn read(
    spool: &Spool,
    source: &mut dyn Source,
    size: usize,
) -> Result<(Vec<u8>, Option<Turn>), Unread> {
    let arrived = tokio::time::timeout(ARRIVING, arrive(spool, source, size)).await;
    match arrived.unwrap_or(Err(Unread::Late))? {
        Arrived::Small(mail) => Ok((mail, None)),
        Arrived::Aside(kept) => {
            let turn = spool.turn(size).await.map_err(Unread::Room)?;
            Ok((kept.read().await.map_err(Unread::Room)?, Some(turn)))
        }
    }
}

async fn arrive(spool: &Spool, source: &mut dyn Source, size: usize) -> Result<Arrived, Unread> {
    let mut aside = if size > SPOOL_ABOVE { Some(spool.writer().map_err(Unread::Room)?) } else { None };
    let (mut small, mut come) = (Vec::new(), 0_usize);
    while come < size {
        let piece = source.next((size - come) as u64).await.ok_or(Unread::Broken)?;
        come = come.saturating_add(piece.len());
        match &mut aside {
            Some(writer) => writer.push(&piece).await.map_err(Unread::Room)?,
            None => small.extend_from_slice(&piece),
        }
    }
    if !source.ended().await {
        return Err(Unread::Longer);
    }
    Ok(match aside {
        Some(writer) => Arrived::Aside(writer.finish().await.map_err(Unread::Room)?),
        None => Arrived::Small(small),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use bytes::Bytes;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::spool::tests::spool;

    const MIB: usize = 1024 * 1024;

    /// Says so many bytes at once, with a pause before each piece.
    struct Slow {
        piece: usize,
        pause: Duration,
        left: usize,
    }

    impl Source for Slow {
        fn next(&mut self, left: u64) -> BoxFuture<'_, Option<Bytes>> {
            Box::pin(async move {
                tokio::time::sleep(self.pause).await;
                let piece = self.piece.min(self.left).min(usize::try_from(left).unwrap());
                self.left -= piece;
                (piece > 0).then(|| Bytes::from(vec![b'x'; piece]))
            })
        }

        fn ended(&mut self) -> BoxFuture<'_, bool> {
            Box::pin(std::future::ready(true))
        }
    }

    #[tokio::test]
    async fn what_came_whole_is_there_whole() {
        let (_folder, spool) = spool();
        for size in [0, 10, SPOOL_ABOVE, SPOOL_ABOVE + 1, 5 * MIB] {
            let mut source = Slow { piece: 70_000, pause: Duration::ZERO, left: size };
            let (mail, turn) = read(&spool, &mut source, size).await.unwrap();
            assert_eq!((mail.len(), turn.is_some()), (size, size > SPOOL_ABOVE));
            let mut source = Slow { piece: 70_000, pause: Duration::ZERO, left: size };
            assert_eq!(read(&spool, &mut source, size + 1).await.unwrap_err(), Unread::Broken);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_mail_that_is_only_announced_takes_nobody_s_room_and_ends() {
        let (_folder, spool) = spool();
        let mut drops = Slow { piece: 1, pause: Duration::from_secs(50), left: 64 * MIB };
        let mut honest = Slow { piece: 64 * 1024, pause: Duration::ZERO, left: 2 * MIB };
        let (announced, other) = tokio::join!(read(&spool, &mut drops, 64 * MIB), read(&spool, &mut honest, 2 * MIB));
        assert_eq!(announced.unwrap_err(), Unread::Late);
        assert_eq!(other.unwrap().0.len(), 2 * MIB);
        let mut drops = Slow { piece: 1, pause: Duration::from_secs(50), left: 100 };
        assert_eq!(read(&spool, &mut drops, 100).await.unwrap_err(), Unread::Late, "a small one, too");
    }

    #[tokio::test(start_paused = true)]
    async fn one_mail_of_an_agent_is_read_at_a_time() {
        let ahead = Ahead::default();
        let first = ahead.turn("one").await.unwrap();
        assert!(ahead.turn("one").await.is_none());
        assert!(ahead.turn("other").await.is_some());
        drop(first);
        assert!(ahead.turn("one").await.is_some());
        assert!(lock(&ahead.0).len() <= 2, "who is done is forgotten");
    }
}
