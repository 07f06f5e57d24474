package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"netctl/client"
	"netctl/db"
	"netctl/db/sqlite"
)

// database is netctld db.
func database(dir *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "db", Short: "Check, back up and restore the database",
		Long: `Check, back up and restore the database of a daemon, whether it runs or not.

The database is the file ` + databaseName + ` in the daemon's directory. It is an SQLite
file in WAL mode: to copy it with cp while the daemon runs gives a damaged copy.`,
	}
	cmd.AddCommand(checkDatabase(dir), backupDatabase(dir), restoreDatabase(dir))
	return cmd
}

func checkDatabase(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Check every page of the database, or of a backup, and what is stored in it", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := filepath.Join(*dir, databaseName)
			if len(args) > 0 {
				path = args[0]
			}
			objs, err := sound(cmd.Context(), path)
			if err != nil {
				return err
			}
			return say(cmd.OutOrStdout(), "%s is sound: %s\n", path, contents(objs))
		},
	}
}

func backupDatabase(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the database to a new file", Args: cobra.ExactArgs(1),
		Long: `Copy the database to a new file.

The copy is that of one moment, however much is written meanwhile, and holds
everything that the daemon had acknowledged. It holds secrets too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sqlite.Backup(cmd.Context(), filepath.Join(*dir, databaseName), args[0]); err != nil {
				return err
			}
			objs, err := sound(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return say(cmd.OutOrStdout(), "%s holds %s\n", args[0], contents(objs))
		},
	}
}

func restoreDatabase(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Go back to a backup", Args: cobra.ExactArgs(1),
		Long: `Go back to a backup.

A daemon that runs makes what is stored that of the backup, in one revision;
the host follows it as it follows any other change, so that what is the same
now and then is not touched. When no daemon runs, the file is put into place:
that is the way out when the daemon refuses a damaged database.

A file that does not hold what a daemon could start with is refused. What is
replaced is kept next to the database.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			objs, err := sound(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			unlock, err := lock(filepath.Join(*dir, "lock"))
			var kept string
			switch {
			case err == nil:
				defer unlock()
				kept, err = sqlite.Install(cmd.Context(), args[0], filepath.Join(*dir, databaseName))
			case errors.Is(err, errInUse):
				kept, err = restoreRunning(cmd.Context(), *dir, args[0])
			}
			if err != nil {
				return err
			}
			if kept != "" {
				kept = "; what was there is kept as " + kept
			}
			return say(cmd.OutOrStdout(), "restored %s%s\n", contents(objs), kept)
		},
	}
}

// restoreRunning has the daemon that runs in dir go back to a backup.
func restoreRunning(ctx context.Context, dir, file string) (kept string, err error) {
	// A copy of it is one file for sure, even while the backup is in use.
	scratch, err := os.MkdirTemp("", "netctl-db-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	single := filepath.Join(scratch, "backup.db")
	if err := sqlite.Backup(ctx, file, single); err != nil {
		return "", err
	}
	data, err := os.ReadFile(single)
	if err != nil {
		return "", err
	}
	c := client.Unix(filepath.Join(dir, SocketName))
	defer c.Close()
	return c.Restore(ctx, data)
}

// sound returns the objects in a database, once it is sure that a daemon could
// start with them.
func sound(ctx context.Context, path string) (*db.Objects, error) {
	objs, err := sqlite.Inspect(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := (&decoder{}).check(ctx, objs); err != nil {
		return nil, fmt.Errorf("%s: what is stored is not valid: %w", path, err)
	}
	return objs, nil
}

// contents says what is in a database.
func contents(objs *db.Objects) string {
	networks := 0
	for _, o := range objs.List(networksPrefix) {
		if len(db.Parts(o.Key)) == 2 {
			networks++
		}
	}
	s := "networks"
	if networks == 1 {
		s = "network"
	}
	return fmt.Sprintf("%d %s of revision %d", networks, s, objs.Revision())
}

func say(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// advice says what to do about an error that keeps the daemon from starting.
func advice(err error, dir string) string {
	restore := fmt.Sprintf("netctld --dir %s db restore FILE", dir)
	switch {
	case errors.Is(err, db.ErrCorrupt):
		return "the file was left as it is; go back to a backup with: " + restore
	case errors.Is(err, db.ErrNewer):
		return "the file was left as it is; install the newer version again, or go back to a backup of this one with: " + restore
	}
	return ""
}
