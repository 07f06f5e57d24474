package api

// A Project is GET /1.0/projects/{name}. There is one, called default, and it
// cannot be changed; it is there for clients that ask.
type Project struct {
	Name        string            `json:"name" yaml:"name"`
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
	UsedBy      []string          `json:"used_by" yaml:"used_by"`
}
