-- Kinds, Classes, shelves and meters are numbers: see codes.rs. 5 is a read.
CREATE TABLE journal (
  seq INTEGER PRIMARY KEY,
  wall INTEGER NOT NULL,
  time INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  agent TEXT,
  account TEXT,
  action TEXT,
  class INTEGER,
  count INTEGER NOT NULL,
  text TEXT NOT NULL,
  refers INTEGER,
  digest BLOB,
  undo TEXT,
  hash BLOB NOT NULL,
  text_hash BLOB,
  object_text BLOB
) STRICT;
CREATE INDEX journal_acts ON journal (seq) WHERE kind <> 5;
CREATE INDEX journal_texts ON journal (wall) WHERE object_text IS NOT NULL;

-- How far the journal goes, and the sum of all documents: sealed, so that neither can be shortened.
CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id IN (0, 1)),
  sealed BLOB NOT NULL
) STRICT;

-- place: keyed hash of shelf and id; sealed: id and value.
CREATE TABLE doc (
  place BLOB PRIMARY KEY,
  shelf INTEGER NOT NULL,
  sealed BLOB NOT NULL
) STRICT;

CREATE TABLE charge (
  time INTEGER NOT NULL,
  agent TEXT NOT NULL,
  account TEXT NOT NULL,
  meter INTEGER NOT NULL,
  count INTEGER NOT NULL
) STRICT;
CREATE INDEX charge_time ON charge (time);
