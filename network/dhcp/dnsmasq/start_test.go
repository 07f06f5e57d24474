package dnsmasq

import (
	"errors"
	"testing"
)

func TestQuote(t *testing.T) {
	const text = "interface=br0\nfoo=bar\n"
	for said, want := range map[string]string{
		"bad option at line 2 of /x.conf":                    `bad option at line 2 of /x.conf: "foo=bar"; see raw.dnsmasq`,
		"bad option at line 99 of /x.conf":                   "bad option at line 99 of /x.conf",
		"bad option at line 0 of /x.conf":                    "bad option at line 0 of /x.conf",
		"bad option at line 99999999999999999999 of /x.conf": "bad option at line 99999999999999999999 of /x.conf",
		"failed to bind":                                     "failed to bind",
	} {
		if got := quote(errors.New(said), text).Error(); got != want {
			t.Errorf("%s: %s", said, got)
		}
	}
}
