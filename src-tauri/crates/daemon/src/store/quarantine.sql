-- place: keyed hash of entry and object; label: both, sealed; content: sealed.
CREATE TABLE copy (
  place BLOB PRIMARY KEY,
  bytes INTEGER NOT NULL,
  label BLOB NOT NULL,
  content BLOB NOT NULL
) STRICT;
CREATE INDEX copy_bytes ON copy (bytes);
