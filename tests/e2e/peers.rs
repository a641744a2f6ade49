//! The peers themselves: what the other tests take for granted.

use std::time::Duration;

use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Agent, Emulator, Mail};
use serde_json::json;

#[tokio::test]
async fn the_emulator_is_stateful_and_seeded() {
    let gmail = Emulator::start(&Mail::box_of(12)).await;
    let before = gmail.labels().await;
    assert_eq!(before.len(), 12);
    assert_eq!(before["m0010"], ["INBOX", "STARRED"]);
    let body = json!({ "ids": ["m0001", "m0010"], "addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX"] });
    gmail.direct().post("/gmail/v1/users/me/messages/batchModify", &body).await.expect(204);
    assert_eq!(gmail.labels_of("m0010").await, ["STARRED", "TRASH"]);
    assert_eq!(gmail.trashed().await, 2);
    assert_eq!(gmail.changes().await, ["POST /gmail/v1/users/me/messages/batchModify"]);
}

#[tokio::test]
async fn the_misbehaving_upstream_records_and_trickles() {
    let upstream = Upstream::start(|seen| {
        Reply::text(200, "text/plain", &seen.target).in_chunks_of(2).after(Duration::from_millis(5))
    });
    let answer = Agent::new(&upstream.url, "t").post("/slowly", &json!({ "a": 1 })).await;
    assert_eq!(answer.text(), "/slowly");
    assert_eq!(upstream.asked(), ["POST /slowly"]);
    assert_eq!(upstream.bytes(), 7);
}
