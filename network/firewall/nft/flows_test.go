package nft

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tracked is a message about a flow to port 53 of 192.0.2.1, which 10.0.0.5 got
// at port 5353.
func tracked(proto byte) []byte {
	tuple := func(typ int, src, dst string, from, to []byte) *nl.RtAttr {
		t := nl.NewRtAttr(unix.NLA_F_NESTED|typ, nil)
		ip := t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
		ip.AddRtAttr(nl.CTA_IP_V4_SRC, netip.MustParseAddr(src).AsSlice())
		ip.AddRtAttr(nl.CTA_IP_V4_DST, netip.MustParseAddr(dst).AsSlice())
		p := t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
		p.AddRtAttr(nl.CTA_PROTO_NUM, []byte{proto})
		p.AddRtAttr(nl.CTA_PROTO_SRC_PORT, from)
		p.AddRtAttr(nl.CTA_PROTO_DST_PORT, to)
		return t
	}
	client, dns, other := []byte{0x80, 1}, []byte{0, 53}, []byte{0x14, 0xe9}
	return slices.Concat([]byte{unix.AF_INET, 0, 0, 0},
		tuple(nl.CTA_TUPLE_ORIG, "198.51.100.7", "192.0.2.1", client, dns).Serialize(),
		tuple(nl.CTA_TUPLE_REPLY, "10.0.0.5", "198.51.100.7", other, client).Serialize(),
		nl.NewRtAttr(nl.CTA_ID, []byte{1, 2, 3, 4}).Serialize())
}

func TestParseFlow(t *testing.T) {
	fl, ok := parseFlow(tracked(unix.IPPROTO_UDP))
	if !ok || fl.listen.String() != "192.0.2.1:53" || fl.at.String() != "10.0.0.5:5353" || !slices.Equal(fl.id, []byte{1, 2, 3, 4}) || len(fl.tuple) == 0 {
		t.Errorf("%+v %v", fl, ok)
	}
	for name, b := range map[string][]byte{
		"TCP": tracked(unix.IPPROTO_TCP), "nothing": nil, "a header": {2, 0, 0, 0}, "half of it": tracked(unix.IPPROTO_UDP)[:60],
	} {
		if fl, ok := parseFlow(b); ok {
			t.Errorf("%s is a flow of UDP: %+v", name, fl)
		}
	}
}

func FuzzFlow(f *testing.F) {
	f.Add(tracked(unix.IPPROTO_UDP))
	f.Fuzz(func(t *testing.T, b []byte) {
		if fl, ok := parseFlow(b); ok && (!fl.listen.IsValid() || !fl.at.IsValid()) {
			t.Errorf("%+v", fl)
		}
	})
}
