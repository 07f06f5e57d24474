package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"netctl/api"
)

func (a *app) networkInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info <network>", Short: "Show how a network is on this host now", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			n, _, err := c.Network(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := c.NetworkState(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return write(a.Out, networkInfo(n, s))
		},
		ValidArgsFunction: a.completeNetwork(nil),
	}
}

// networkInfo returns the state of a network as text.
func networkInfo(n api.Network, s api.NetworkState) string {
	var t fields
	t.add("Name", n.Name)
	t.add("Status", n.Status)
	t.add("Problem", n.StatusMessage)
	t.add("MAC address", s.Hwaddr)
	t.add("MTU", s.MTU)
	t.add("State", s.State)
	t.add("Type", s.Type)
	if len(s.Addresses) > 0 {
		t.title("IP addresses")
		for _, addr := range s.Addresses {
			t.add("  "+addr.Family, fmt.Sprintf("%s/%s (%s)", addr.Address, addr.Netmask, addr.Scope))
		}
	}
	t.title("Network usage")
	t.add("  Bytes received", size(s.Counters.BytesReceived))
	t.add("  Bytes sent", size(s.Counters.BytesSent))
	t.add("  Packets received", s.Counters.PacketsReceived)
	t.add("  Packets sent", s.Counters.PacketsSent)
	if b := s.Bridge; b != nil {
		t.title("Bridge")
		t.add("  ID", b.ID)
		t.add("  STP", b.STP)
		t.add("  Forward delay", fmt.Sprintf("%d.%02ds", b.ForwardDelay/100, b.ForwardDelay%100))
		t.add("  VLAN filtering", b.VLANFiltering)
		t.add("  Ports", strings.Join(b.UpperDevices, " "))
	}
	return t.String()
}

// Fields is a text of names and values, the values below each other.
type fields struct{ b strings.Builder }

// add adds a name and its value; an empty one is left out.
func (f *fields) add(name string, value any) {
	if value == "" {
		return
	}
	fmt.Fprintf(&f.b, "%s:\t%v\n", name, value)
}

// title begins another part.
func (f *fields) title(name string) { fmt.Fprintf(&f.b, "\n%s:\n", name) }

func (f *fields) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 1, ' ', 0)
	_, _ = w.Write([]byte(f.b.String())) // into memory
	_ = w.Flush()
	return b.String()
}

// size writes a number of bytes with a decimal unit.
func size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%dB", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.995 {
			return fmt.Sprintf("%.2f%s", v, unit)
		}
	}
	return fmt.Sprintf("%.2fEB", v/1000)
}
