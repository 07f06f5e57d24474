package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// debs are the packages that were built, by version.
var debs struct {
	sync.Mutex
	dir   string
	files map[string]string
}

// Deb returns the file of a Debian package of the binaries, with a version. It
// is built once in a process, and RemoveBinaries deletes it.
func Deb(version string) (string, error) {
	debs.Lock()
	defer debs.Unlock()
	if file, ok := debs.files[version]; ok {
		return file, nil
	}
	bin, err := Binaries()
	if err != nil {
		return "", err
	}
	if debs.dir == "" {
		if debs.dir, err = os.MkdirTemp("", "nldeb"); err != nil {
			return "", err
		}
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(string(mod)), "packaging/build"), bin, version, debs.dir).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("packaging/build: %w", err)
	}
	if debs.files == nil {
		debs.files = map[string]string{}
	}
	debs.files[version] = strings.TrimSpace(string(out))
	return debs.files[version], nil
}

func removeDebs() {
	debs.Lock()
	defer debs.Unlock()
	if debs.dir != "" {
		_ = os.RemoveAll(debs.dir)
	}
}
