package daemon

import (
	"encoding/json"
	"strings"
	"unicode"

	"netctl/api"
)

// parseFilter compiles LXD's filter language: clauses "field eq value" or
// "field ne value", joined by "and" and "or" from left to right, each perhaps
// after "not". A field is a path into the JSON of the object, as in
// "config.ipv4.nat"; a value with spaces stands in quotes. An empty filter
// matches everything. As LXD's, comparison is blind to case, so that "status eq
// running" selects what is Running.
func parseFilter(s string) (func(any) bool, error) {
	words, err := filterWords(s)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return func(any) bool { return true }, nil
	}
	var terms []filterTerm
	for join := ""; ; {
		t := filterTerm{or: join == "or"}
		if len(words) > 0 && words[0] == "not" {
			t.not, words = true, words[1:]
		}
		if len(words) < 3 || words[1] != "eq" && words[1] != "ne" {
			return nil, api.Errorf(api.Invalid, "filter %q: want clauses like \"name eq br0\", joined by \"and\" or \"or\"", s)
		}
		t.field, t.value = words[0], words[2]
		t.not = t.not != (words[1] == "ne")
		terms, words = append(terms, t), words[3:]
		if len(words) == 0 {
			break
		}
		if join = words[0]; join != "and" && join != "or" {
			return nil, api.Errorf(api.Invalid, "filter %q: %q is neither \"and\" nor \"or\"", s, join)
		}
		words = words[1:]
	}
	return func(v any) bool { return matches(terms, v) }, nil
}

// A filterTerm is one clause.
type filterTerm struct {
	or, not      bool
	field, value string
}

func matches(terms []filterTerm, v any) bool {
	raw, err := json.Marshal(v)
	if err != nil {
		return false
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return false
	}
	result := true
	for _, t := range terms {
		hit := strings.EqualFold(field(doc, t.field), t.value) != t.not
		if t.or {
			result = result || hit
		} else {
			result = result && hit
		}
	}
	return result
}

// field returns the value at a path; names may hold dots themselves.
func field(doc map[string]any, path string) string {
	if v, ok := doc[path]; ok {
		switch v := v.(type) {
		case string:
			return v
		case nil:
			return ""
		default:
			b, _ := json.Marshal(v) // it came from JSON
			return string(b)
		}
	}
	for i := range path {
		if path[i] != '.' {
			continue
		}
		if sub, ok := doc[path[:i]].(map[string]any); ok {
			return field(sub, path[i+1:])
		}
	}
	return ""
}

// filterWords splits at spaces outside quotes.
func filterWords(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	var quote rune
	started := false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, started = r, true
		case quote == 0 && unicode.IsSpace(r):
			if started {
				words = append(words, b.String())
			}
			b.Reset()
			started = false
		default:
			b.WriteRune(r)
			started = true
		}
	}
	if quote != 0 {
		return nil, api.Errorf(api.Invalid, "filter %q: a quote is not closed", s)
	}
	if started {
		words = append(words, b.String())
	}
	return words, nil
}
