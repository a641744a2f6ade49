//! What both dialects do alike.

use std::time::Duration;

use latch_ipc::contract::{Empty, PanicCall};

use crate::house::{Dialect, House, numbers, words};

/// Thirty deletions with a login each, by two ways in turn: it is deleted, or only marked with this command.
pub async fn one_by_one(dialect: Dialect, marking: impl Fn(&str) -> Vec<String>) {
    let house = House::new(dialect, 30, "organize").await;
    let start = house.mailboxes();
    let runaway = async {
        let mut done = 0;
        for uid in numbers(1, 30) {
            let call =
                if done % 2 == 0 { ["message", "delete", &uid].map(str::to_owned).to_vec() } else { marking(&uid) };
            let call: Vec<&str> = call.iter().map(String::as_str).collect();
            done += usize::from(house.himalaya(&call).await.good);
        }
        done
    };
    let person = async {
        let mut asked = 0;
        loop {
            let hold = house.engine.hold_within(Duration::from_secs(3600)).await;
            assert_eq!(hold.count, 1);
            house.engine.deny(&hold).await;
            asked += 1;
            // After three denials in a row it is not asked any more.
            assert!(asked <= 3, "the person is not buried in questions");
        }
    };
    let done = tokio::select! { done = runaway => done, () = person => unreachable!() };
    // 5 in ten minutes, halved in an agent's first week, rounded up.
    assert_eq!(done, 3);
    let [inbox, trash, _] = house.mailboxes();
    assert_eq!(trash.len() + inbox.iter().filter(|one| one.flags.contains('T')).count(), 3);
    let undone = house.undo_everything().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{undone:?}");
    assert_eq!(house.mailboxes(), start);
}

/// Panic while the person is asked about a bulk deletion.
pub async fn stopped_while_it_waits(dialect: Dialect) {
    let house = House::new(dialect, 20, "organize").await;
    let start = house.mailboxes();
    let all = numbers(1, 20);
    let (ran, ()) = house
        .while_decided(&words(&["message", "delete"], &all), async |_| {
            house.engine.call(PanicCall, Empty {}).await;
        })
        .await;
    ran.refused();
    let said = house.himalaya(&["envelope", "list"]).await.refused();
    assert!(said.to_lowercase().contains("stopped"), "{said}");
    assert_eq!(house.mailboxes(), start);
}
