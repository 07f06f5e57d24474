package dnsmasq

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestOnlyInterface runs the filter over messages.
func TestOnlyInterface(t *testing.T) {
	var prog []bpf.Instruction
	for _, f := range onlyInterface(0x01020304) {
		prog = append(prog, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble())
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		kind, flags uint16
		index       uint32
		want        bool
	}{
		{"our address", unix.RTM_NEWADDR, 0, 0x01020304, true},
		{"our address goes", unix.RTM_DELADDR, 0, 0x01020304, true},
		{"an address elsewhere", unix.RTM_NEWADDR, 0, 7, false},
		{"an address elsewhere goes", unix.RTM_DELADDR, 0, 0x04030201, false},
		{"an address elsewhere in a dump", unix.RTM_NEWADDR, unix.NLM_F_MULTI, 7, true},
		{"a route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE, 0x01020304, false},
		{"a route goes", unix.RTM_DELROUTE, 0, 0x01020304, false},
		{"a link in a dump", unix.RTM_NEWLINK, unix.NLM_F_MULTI, 7, true},
		{"the end of a dump", unix.NLMSG_DONE, unix.NLM_F_MULTI, 0, true},
		{"an error", unix.NLMSG_ERROR, 0, 0, true},
		{"a neighbour", unix.RTM_NEWNEIGH, 0, 7, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := binary.NativeEndian.AppendUint32(nil, 24)
			b = binary.NativeEndian.AppendUint16(b, tt.kind)
			b = binary.NativeEndian.AppendUint16(b, tt.flags)
			b = append(b, make([]byte, 8)...)     // sequence and port
			b = append(b, unix.AF_INET, 24, 0, 0) // struct ifaddrmsg
			b = binary.NativeEndian.AppendUint32(b, tt.index)
			n, err := vm.Run(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := n > 0; got != tt.want {
				t.Errorf("passes: %v, want %v", got, tt.want)
			}
		})
	}
}
