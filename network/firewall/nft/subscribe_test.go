package nft

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// message is a notification of nftables of a family about a table; about a
// new generation when the table is empty.
func message(family byte, table string) []byte {
	kind := uint16(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM)
	body := []byte{family, 0, 0, 0}
	if table == "" {
		kind = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN
	} else {
		body = binary.NativeEndian.AppendUint16(body, uint16(4+len(table)+1))
		body = binary.NativeEndian.AppendUint16(body, tableName)
		body = append(body, table...)
		body = append(body, make([]byte, 4-len(table)%4)...)
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, make([]byte, 10)...), body...)
}

func TestCount(t *testing.T) {
	ours, other := message(unix.NFPROTO_INET, "netctl"), message(unix.NFPROTO_INET, "filter")
	ip, end := message(unix.NFPROTO_IPV4, "netctl"), message(0, "")
	join := func(bs ...[]byte) (b []byte) {
		for _, m := range bs {
			b = append(b, m...)
		}
		return b
	}
	for _, tt := range []struct {
		name      string
		datagrams [][]byte
		want      int
	}{
		{"nothing", nil, 0},
		{"a transaction of ours", [][]byte{join(ours, ours, end)}, 1},
		{"one in several datagrams", [][]byte{ours, other, end}, 1},
		{"one that has not ended", [][]byte{ours}, 0},
		{"two", [][]byte{join(ours, end, other, end, ours, end)}, 2},
		{"one of both tables", [][]byte{join(ours, message(unix.NFPROTO_BRIDGE, "netctl"), end)}, 1},
		{"one of the other table", [][]byte{join(message(unix.NFPROTO_BRIDGE, "netctl"), end)}, 1},
		{"another table", [][]byte{join(other, end)}, 0},
		{"a table of our name in another family", [][]byte{join(ip, end)}, 0},
		{"garbage", [][]byte{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			touched, got := false, 0
			for _, d := range tt.datagrams {
				got += count(d, &touched)
			}
			if got != tt.want {
				t.Errorf("%d transactions, want %d", got, tt.want)
			}
		})
	}
}

func FuzzCount(f *testing.F) {
	f.Add(message(1, "netctl"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		touched := false
		count(b, &touched)
	})
}
