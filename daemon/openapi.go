package daemon

import (
	"net/http"

	"netctl/doc"
)

// openAPIMedia is the media type of the OpenAPI document (RFC 9512).
const openAPIMedia = "application/yaml"

// getOpenAPI is GET /1.0/openapi: the description of the API for programs that
// make clients, forms or tests of it.
func getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", openAPIMedia)
	_, _ = w.Write(doc.OpenAPI) // the client is gone
}
