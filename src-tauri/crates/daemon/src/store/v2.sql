-- A shelf's documents in the order in which they were first stored, page by page.
CREATE INDEX doc_shelf ON doc (shelf);
