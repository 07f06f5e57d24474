package daemon

import (
	"context"
	"errors"
	"net/http"

	"netctl/api"
	"netctl/config"
	"netctl/db"
	"netctl/network"
)

// configError says of which object the keys are that err complains about.
func configError(object string, err error) error {
	return api.Errorf(api.Invalid, "%s: %w", object, err)
}

// classify gives every error that a client may be told its code. The rest are
// internal: they are logged, and the client gets the number of its request.
func classify(err error) (*api.Error, bool) {
	var known *api.Error
	var conflict *network.ConflictError
	var invalid *network.InvalidError
	var key *config.KeyError
	var tooLarge *http.MaxBytesError
	for _, c := range []struct {
		match bool
		code  api.Code
	}{
		{errors.As(err, &known), ""},
		{errors.As(err, &conflict), api.Conflict},
		{errors.As(err, &invalid), api.Invalid},
		{errors.As(err, &key), api.Invalid},
		{errors.As(err, &tooLarge), api.TooLarge},
		{errors.Is(err, db.ErrTooLarge), api.TooLarge},
		{errors.Is(err, db.ErrUnavailable), api.Unavailable},
		{errors.Is(err, db.ErrClosed), api.Unavailable},
		{errors.Is(err, context.DeadlineExceeded), api.Timeout},
	} {
		if !c.match {
			continue
		}
		if c.code == "" {
			return known, true
		}
		return &api.Error{Code: c.code, Message: err.Error(), Err: err}, true
	}
	return nil, false
}
