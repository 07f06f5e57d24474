-- The objects of the latest revision.
CREATE TABLE objects (
	key      TEXT PRIMARY KEY,
	value    TEXT NOT NULL CHECK (json_valid(value)),
	schema   INTEGER NOT NULL,
	revision INTEGER NOT NULL -- that put the object
) STRICT;

-- What each of the last revisions changed.
CREATE TABLE changes (
	revision INTEGER NOT NULL,
	key      TEXT NOT NULL,
	op       TEXT NOT NULL CHECK (op IN ('put', 'delete')),
	PRIMARY KEY (revision, key)
) STRICT, WITHOUT ROWID;

-- The one row that says where the store is.
CREATE TABLE store (
	id        INTEGER PRIMARY KEY CHECK (id = 1),
	revision  INTEGER NOT NULL, -- the latest
	compacted INTEGER NOT NULL  -- the latest that is no longer in changes
) STRICT;
INSERT INTO store VALUES (1, 0, 0);
