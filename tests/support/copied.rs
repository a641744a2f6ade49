//! A copy in the quarantine that a disk spoils.

use std::path::Path;

use rusqlite::Connection;

/// One of an engine's copies.
pub struct Copied {
    database: Connection,
    row: i64,
    right: Vec<u8>,
}

impl Copied {
    /// The oldest but so many; `home` is the engine's.
    #[must_use]
    pub fn nth(home: &Path, number: u32) -> Self {
        let database = Connection::open(home.join("quarantine.db")).expect("a database");
        let asked = "SELECT rowid, content FROM copy ORDER BY rowid LIMIT 1 OFFSET ?1";
        let (row, right) =
            database.query_row(asked, [number], |row| Ok((row.get(0)?, row.get(1)?))).expect("so many copies");
        Self { database, row, right }
    }

    /// Changes a bit of it.
    pub fn spoil(&self) {
        let mut wrong = self.right.clone();
        wrong[20] ^= 1;
        self.write(&wrong);
    }

    /// As it was.
    pub fn mend(&self) {
        self.write(&self.right);
    }

    fn write(&self, content: &[u8]) {
        let changed = self.database.execute("UPDATE copy SET content = ?1 WHERE rowid = ?2", (content, self.row));
        assert_eq!(changed.expect("written"), 1);
    }
}
