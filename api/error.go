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
	Invalid        Code = "invalid"         // 400
	Forbidden      Code = "forbidden"       // 403
	NotFound       Code = "not_found"       // 404
	Conflict       Code = "conflict"        // 409
	Precondition   Code = "precondition"    // 412
	TooLarge       Code = "too_large"       // 413
	TooMany        Code = "too_many"        // 429
	NotImplemented Code = "not_implemented" // 501
	Unavailable    Code = "unavailable"     // 503
	Timeout        Code = "timeout"         // 504
	Internal       Code = "internal"        // 500
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
