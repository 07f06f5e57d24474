package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"netctl/api"
	"netctl/db"
	"netctl/db/sqlite"
)

// databaseName is the name of the database in the daemon's directory.
const databaseName = "netctl.db"

// maxDatabase is the longest body of PUT /internal/database, in bytes: a
// database of many thousands of networks, in base64.
const maxDatabase = 256 << 20

// A restorer is a store that can be made what another was.
type restorer interface {
	Replace(ctx context.Context, other *db.Objects) (db.Revision, error)
}

// putDatabase is PUT /internal/database: the stored state becomes that of a
// backup, in one revision, and the host follows it as it follows any write.
func (d *Daemon) putDatabase(r *http.Request) (reply, error) {
	var req api.Database
	if err := body(r, &req); err != nil {
		return reply{}, err
	}
	store, ok := d.store.(restorer)
	if !ok {
		return reply{}, api.Errorf(api.NotImplemented, "this store cannot be restored while it is used")
	}
	scratch, err := os.MkdirTemp(d.opts.Dir, "restore-") // mode 0700
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", db.ErrUnavailable, err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	file := filepath.Join(scratch, "backup.db")
	if err := os.WriteFile(file, req.File, 0o600); err != nil {
		return reply{}, fmt.Errorf("%w: %w", db.ErrUnavailable, err)
	}
	objs, err := sqlite.Inspect(r.Context(), file)
	if errors.Is(err, db.ErrCorrupt) || errors.Is(err, db.ErrNewer) {
		return reply{}, api.Errorf(api.Invalid, "backup: %s", strings.ReplaceAll(err.Error(), file, "the file"))
	}
	if err != nil {
		return reply{}, err
	}
	if objs, err = d.ofThisBoot(r.Context(), objs); err != nil {
		return reply{}, err
	}
	path := filepath.Join(d.opts.Dir, databaseName)
	kept := sqlite.Aside(path)
	if err := sqlite.Backup(r.Context(), path, kept); err != nil {
		return reply{}, err
	}
	rev, err := store.Replace(r.Context(), objs)
	if err != nil {
		return reply{}, errors.Join(err, os.Remove(kept))
	}
	d.log.Warn("database restored", "revision", int64(rev), "of_revision", int64(objs.Revision()), "kept", kept)
	d.hub.send(api.EventLifecycle, api.EventLifecycleBody{Action: "database-restored", Source: "/internal/database", Requestor: requestor(r)})
	return reply{revision: int64(rev), metadata: api.Restored{Kept: kept}}, nil
}
