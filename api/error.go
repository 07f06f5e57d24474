package api

import (
	"errors"
	"fmt"
)

// A Code classifies an error for clients. It is mapped to an HTTP status in
// one place of the daemon, and back in one place of the client.
type Code string

// Codes.
const (
	Invalid        Code = "invalid"         // 400: the request is wrong, and will be until it is changed
	Forbidden      Code = "forbidden"       // 403: this client may not do that
	NotFound       Code = "not_found"       // 404: what the path names does not exist
	Conflict       Code = "conflict"        // 409: something that exists is in the way
	Precondition   Code = "precondition"    // 412: the object has changed since it was read; read it again
	TooLarge       Code = "too_large"       // 413: the body, or what it would make of the database, is too large
	TooMany        Code = "too_many"        // 429: too many attempts; wait before the next one
	NotImplemented Code = "not_implemented" // 501: this server does not do that
	Unavailable    Code = "unavailable"     // 503: not now, as with a full disk or while starting; try again
	Timeout        Code = "timeout"         // 504: it took too long; try again
	Internal       Code = "internal"        // 500: a bug; the log of the daemon has the request under the number in the text
)

// HTTPStatus maps every Code to its HTTP status.
var HTTPStatus = map[Code]int{
	Invalid: 400, Forbidden: 403, NotFound: 404, Conflict: 409, Precondition: 412, TooLarge: 413, TooMany: 429,
	Internal: 500, NotImplemented: 501, Unavailable: 503, Timeout: 504,
}

// CodeOf is the inverse of HTTPStatus; other client errors are Invalid, other
// server errors Internal.
func CodeOf(status int) Code {
	for c, s := range HTTPStatus {
		if s == status {
			return c
		}
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Internal
}

// An Error is an error that a client is told as it is.
type Error struct {
	Code    Code
	Message string
	Err     error // the cause; may be nil
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error; %w keeps the cause.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, Message: err.Error(), Err: errors.Unwrap(err)}
}

// ErrorCode returns the code of err, or Internal when it carries none.
func ErrorCode(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
