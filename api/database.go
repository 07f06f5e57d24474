package api

// A Database is the body of PUT /internal/database.
type Database struct {
	File []byte `json:"file"` // an SQLite file, as "netctld db backup" writes it
}

// A Restored is the answer to PUT /internal/database.
type Restored struct {
	Kept string `json:"kept"` // the file in which the state before is kept
}
