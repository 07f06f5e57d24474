package config

import (
	"errors"
	"strings"
)

// A PortRange is a range of TCP or UDP ports.
type PortRange struct{ First, Last uint16 }

// count returns how many ports the range has.
func (r PortRange) count() int { return int(r.Last) - int(r.First) + 1 }

// portRange accepts a port, or a range of ports first-last.
var portRange = Type[PortRange]{
	Name: "port or range", Kind: "string",
	Parse: func(s string) (PortRange, error) {
		from, to, ranged := strings.Cut(s, "-")
		first, err := port.Parse(strings.TrimSpace(from))
		if err != nil {
			return PortRange{}, err
		}
		if !ranged {
			return PortRange{first, first}, nil
		}
		last, err := port.Parse(strings.TrimSpace(to))
		if err != nil {
			return PortRange{}, err
		}
		if last < first {
			return PortRange{}, errors.New("ends before it starts")
		}
		return PortRange{first, last}, nil
	},
}

// portRanges accepts a list of ports and ranges.
var portRanges = list(portRange, "list of ports and ranges first-last")
