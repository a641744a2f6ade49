//! Opening: checks, then everything that the engine needs to start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use latch_core::call::Digest;
use latch_core::journal::{Charge, Shelf};
use latch_core::time::Time;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::flag::Flag;
use super::head::{self, Chained, Head, Place, Sum, Sums};
use super::quarantine::Quarantine;
use super::reserve::Reserve;
use super::writer::{CHARGES_KEPT, SealedDoc, Shared, Writer};
use super::{Inner, Loaded, Opened, Store, StoreError, codes, read, row, schema, verify};
use crate::clock;
use crate::home::Home;
use crate::seal::Key;

pub(super) fn open(home: &Home, key: &Key) -> Result<Opened, StoreError> {
    let path = home.database();
    let io = |name: &str| {
        let path = home.join(name);
        move |error: std::io::Error| StoreError::Io { path, error: error.to_string() }
    };
    let connection = schema::open_writer(&path)?;
    let damaged = |error| match error {
        StoreError::Database(what) => StoreError::Damaged { path: path.clone(), what },
        other => other,
    };
    if !head::check_key(&connection, key).map_err(damaged)? {
        return Err(StoreError::OtherKey(path));
    }
    let (head, sums, loaded, flag) = load(&connection, home, key).map_err(damaged)?;
    let shared = Arc::new(Shared::new(&head, flag));
    let writer = Writer {
        connection,
        key: key.clone(),
        head,
        sums,
        shared: Arc::clone(&shared),
        reserve: Reserve::of(home),
        pruned: None,
    };
    let inner = Inner {
        home: home.clone(),
        key: key.clone(),
        shared,
        reader: Mutex::new(schema::open_reader(&path)?),
        quarantine: Quarantine::open(home, key)?,
        thread: Mutex::new(None),
    };
    let thread =
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run()).map_err(io("journal"))?;
    *super::guard(&inner.thread) = Some(thread);
    Ok(Opened { store: Store(Arc::new(inner)), loaded })
}

fn load(connection: &Connection, home: &Home, key: &Key) -> Result<(Head, Sums, Loaded, Flag), StoreError> {
    let flag_path = home.join("panic.flag");
    let (flag, raised) =
        Flag::open(home).map_err(|error| StoreError::Io { path: flag_path, error: error.to_string() })?;
    let mut alarms: Vec<String> =
        raised.into_iter().map(|why| format!("a panic was not yet recorded: {why}")).collect();
    let mut head = settle(connection, key, &mut alarms)?;
    alarms.extend(verify::recent(connection, key, head.seq)?);
    let (documents, sums) = documents(connection, key, &mut alarms)?;
    let mut sum = Sum::default();
    sums.values().for_each(|one| sum.add(*one));
    if sum != head.documents {
        alarms.push(
            "accounts, grants or other documents in the database were changed, removed or put back to an older state"
                .to_owned(),
        );
        head.documents = sum;
    }
    let mut charges = charges(connection, None)?;
    let mut sum = Sum::default();
    charges.iter().for_each(|charge| sum.add(Sum::of_charge(key, charge)));
    if head.charges.is_some_and(|sealed| sealed != sum) {
        alarms.push("what agents have used of their budgets was changed or removed in the database".to_owned());
    }
    head.charges = Some(sum);
    let since = head.time.max(Time(clock::wall())) - CHARGES_KEPT;
    charges.retain(|charge| charge.time >= since);
    let mut open_intents = Vec::new();
    for seq in &head.open {
        open_intents.extend(read::one(connection, *seq)?);
    }
    let loaded = Loaded {
        seq: head.seq,
        hash: (head.seq > 0).then_some(head.hash.0),
        high_water: head.time,
        documents,
        charges,
        open_intents,
        alarms,
    };
    Ok((head, sums, loaded, flag))
}

/// The sealed head, compared with the newest row. Where they differ the rows are continued, and the alarm says so.
fn settle(connection: &Connection, key: &Key, alarms: &mut Vec<String>) -> Result<Head, StoreError> {
    let sql = "SELECT seq, hash, time FROM journal ORDER BY seq DESC LIMIT 1";
    let newest: Option<(i64, Vec<u8>, i64)> =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let found = newest.map(|(seq, hash, time)| Head {
        seq: u64::try_from(seq).unwrap_or_default(),
        hash: Chained(Digest(<[u8; 32]>::try_from(hash.as_slice()).unwrap_or_default())),
        time: Time(u64::try_from(time).unwrap_or_default()),
        ..Head::default()
    });
    let sealed = head::read(connection, key)?;
    Ok(match (sealed, found) {
        (Some(Some(head)), None) if head.seq == 0 => head,
        (Some(Some(head)), Some(found)) if head.seq == found.seq && head.hash == found.hash => head,
        (Some(Some(head)), found) => {
            let found = found.unwrap_or_default();
            alarms.push(format!("the journal should end with record {}, but ends with record {}", head.seq, found.seq));
            Head { seq: found.seq, hash: found.hash, time: head.time.max(found.time), ..head }
        }
        (None | Some(None), found) => {
            alarms.push("the journal's seal was removed or changed".to_owned());
            found.unwrap_or_default()
        }
    })
}

#[derive(Serialize)]
struct DocOut<'a> {
    id: &'a str,
    value: &'a Value,
}

#[derive(Deserialize)]
pub(super) struct DocIn {
    pub(super) id: String,
    pub(super) value: Value,
}

/// Seals a document for its shelf and id.
pub(super) fn seal(key: &Key, shelf: Shelf, id: &str, value: &Value) -> Result<SealedDoc, StoreError> {
    let place = place(key, shelf, id);
    let plain = serde_json::to_vec(&DocOut { id, value }).map_err(|error| StoreError::Database(error.to_string()))?;
    let sealed = key.seal(&doc_place(shelf, &hex(&place)), &plain)?;
    Ok(SealedDoc { place, shelf: codes::shelf_code(shelf), sealed })
}

/// Where a document is.
pub(super) fn place(key: &Key, shelf: Shelf, id: &str) -> Place {
    key.place(&["doc", codes::shelf_name(shelf), id])
}

pub(super) fn unseal(key: &Key, shelf: Shelf, place: &Place, sealed: &[u8]) -> Option<DocIn> {
    let plain = key.open(&doc_place(shelf, &hex(place)), sealed).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn doc_place(shelf: Shelf, place: &str) -> [&str; 3] {
    ["doc", codes::shelf_name(shelf), place]
}

fn hex(place: &Place) -> String {
    place.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Documents = Vec<(Shelf, String, Value)>;

fn documents(connection: &Connection, key: &Key, alarms: &mut Vec<String>) -> Result<(Documents, Sums), StoreError> {
    let mut documents = Vec::new();
    let mut sums = HashMap::new();
    let mut lost = 0_u32;
    let mut statement = connection.prepare("SELECT place, shelf, sealed FROM doc ORDER BY rowid")?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let place: Vec<u8> = found.get(0)?;
        let shelf: u8 = found.get(1)?;
        let sealed = found.get_ref(2)?.as_blob().map_err(|error| StoreError::Database(error.to_string()))?;
        let place = Place::try_from(place.as_slice()).unwrap_or_default();
        sums.insert(place, Sum::of(&place, sealed));
        // There may be many, and only a few are ever looked at.
        if codes::shelf_of(shelf) == Some(Shelf::Undo) {
            continue;
        }
        match codes::shelf_of(shelf).and_then(|shelf| Some((shelf, unseal(key, shelf, &place, sealed)?))) {
            Some((shelf, doc)) => documents.push((shelf, doc.id, doc.value)),
            None => lost += 1,
        }
    }
    if lost > 0 {
        alarms.push(format!("{lost} stored documents were changed and can't be opened"));
    }
    Ok((documents, sums))
}

/// Every charge until this time, oldest first; without one every charge that there is.
pub(super) fn charges(connection: &Connection, until: Option<Time>) -> Result<Vec<Charge>, rusqlite::Error> {
    let sql = "SELECT time, agent, account, meter, count FROM charge WHERE time < ?1 ORDER BY time";
    let until = until.map_or(i64::MAX, |until| row::signed(until.0));
    let mut statement = connection.prepare(sql)?;
    let charges = statement.query_map([until], |found| {
        Ok(Charge {
            time: Time(row::unsigned(found, 0)?),
            agent: found.get(1)?,
            account: found.get(2)?,
            meter: row::code(found, 3, codes::meter_of)?,
            count: found.get(4)?,
        })
    })?;
    charges.collect()
}
