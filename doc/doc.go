// Package doc holds the pages of the documentation that netctld serves.
package doc

import _ "embed"

// OpenAPI describes the REST API as an OpenAPI 3 document, in YAML. It is
// generated from the daemon's table of routes.
//
//go:embed reference/openapi.yaml
var OpenAPI []byte
