//! How far the journal goes, which documents and which budget charges there are, in one small sealed row that every transaction rewrites.

use std::collections::{BTreeSet, HashMap};

use latch_core::call::Digest;
use latch_core::journal::Charge;
use latch_core::time::Time;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{StoreError, codes};
use crate::seal::Key;

const ROW: &[&str] = &["head"];
const CHECK: &[&str] = &["key check"];

/// The journal's newest state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Chained,
    /// The high-water mark of the guard's clock.
    pub(super) time: Time,
    /// Intents without an outcome.
    pub(super) open: BTreeSet<u64>,
    /// The sum over all documents.
    pub(super) documents: Sum,
    /// The sum over all budget charges; `None` in databases from before there was one.
    #[serde(default)]
    pub(super) charges: Option<Sum>,
}

/// The chain's hash; zero before the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Chained(pub(super) Digest);

impl Default for Chained {
    fn default() -> Self {
        Self(Digest([0; 32]))
    }
}

/// A sum of hashes that does not depend on their order: any document changed, dropped or put back to an older state moves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    pub(super) fn of(place: &Place, sealed: &[u8]) -> Self {
        Self::from_bytes(&Digest::of(&[place, sealed]).0)
    }

    /// What a budget charge adds: keyed, because its row is plain, so that nobody else can find rows of the same sum.
    pub(super) fn of_charge(key: &Key, charge: &Charge) -> Self {
        let (time, meter) = (charge.time.0.to_string(), codes::meter_code(charge.meter).to_string());
        let count = charge.count.to_string();
        Self::from_bytes(&key.place(&["charge", &time, &charge.agent, &charge.account, &meter, &count]))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut sum = [0; 4];
        for (part, bytes) in sum.iter_mut().zip(bytes.chunks_exact(8)) {
            *part = <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).unwrap_or_default();
        }
        Self(sum)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, others)| *mine = mine.wrapping_add(others));
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, others)| *mine = mine.wrapping_sub(others));
    }
}

/// Where a document is: a keyed hash of shelf and id, because ids are addresses and names too.
pub(super) type Place = [u8; 16];

/// What each document adds to the sum.
pub(super) type Sums = HashMap<Place, Sum>;

/// The stored head; the outer `None`: no row, the inner: a row that does not open.
pub(super) fn read(connection: &Connection, key: &Key) -> Result<Option<Option<Head>>, rusqlite::Error> {
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached("SELECT sealed FROM head WHERE id = 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(sealed.map(|sealed| key.open(ROW, &sealed).ok().and_then(|plain| serde_json::from_slice(&plain).ok())))
}

pub(super) fn write(connection: &Connection, key: &Key, head: &Head) -> Result<(), WriteError> {
    let plain = serde_json::to_vec(head).map_err(|_| WriteError::Unsealed)?;
    let sealed = key.seal(ROW, &plain).map_err(|_| WriteError::Unsealed)?;
    connection
        .prepare_cached("INSERT INTO head VALUES (1, ?1) ON CONFLICT DO UPDATE SET sealed = ?1")?
        .execute([sealed])?;
    Ok(())
}

/// Whether the database was sealed with this key; an empty one is marked with it.
pub(super) fn check_key(connection: &Connection, key: &Key) -> Result<bool, StoreError> {
    let sealed: Option<Vec<u8>> =
        connection.query_row("SELECT sealed FROM head WHERE id = 0", [], |row| row.get(0)).optional()?;
    match sealed {
        Some(sealed) => Ok(key.open(CHECK, &sealed).is_ok()),
        None => {
            let used: bool = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM journal) OR EXISTS (SELECT 1 FROM doc)",
                [],
                |row| row.get(0),
            )?;
            if used {
                return Ok(false);
            }
            let sealed = key.seal(CHECK, b"")?;
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("INSERT INTO head VALUES (0, ?1)", [sealed])?;
            write(&transaction, key, &Head::default()).map_err(|error| StoreError::Database(error.to_string()))?;
            transaction.commit()?;
            Ok(true)
        }
    }
}

/// Why a transaction could not be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error("a value could not be sealed")]
    Unsealed,
}
