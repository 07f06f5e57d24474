package config

import (
	"net/netip"
	"testing"

	"go4.org/netipx"
)

// FuzzSpecs decodes whatever somebody writes into a port of a forward and into
// a rule of an ACL: what is accepted makes sense.
func FuzzSpecs(f *testing.F) {
	f.Add("tcp", "80,8000-8010", "10.0.0.9", "80", "allow", "enabled", "10.0.0.0/8,10.9.0.1-10.9.0.9", "8")
	f.Add("udp", "1-65535", "fd42::9", "1-65535", "reject", "logged", "fd42::/64", "")
	f.Add("icmp4", "", "", "", "drop", "disabled", "@internal,web", "255")
	f.Fuzz(func(t *testing.T, protocol, ports, address, to, action, state, source, icmp string) {
		for _, listen := range []string{"198.51.100.7", "2001:db8::7"} {
			spec := ForwardSpec{
				Listen: netip.MustParseAddr(listen),
				Ports:  []PortSpec{{protocol, ports, address, to}, {protocol, to, address, ports}},
			}
			fw, err := spec.Decode()
			if err != nil {
				continue
			}
			for i, p := range fw.Ports {
				if p.First == 0 || p.Last < p.First || p.To == 0 || p.ToLast != p.To && p.ToLast-p.To != p.Last-p.First || p.Target.Is4() != spec.Listen.Is4() {
					t.Errorf("%+v becomes %+v", spec, p)
				}
				if i > 0 && fw.Ports[i-1].Last >= p.First {
					t.Errorf("%+v: %+v overlaps the one before", spec, p)
				}
			}
		}
		spec := RuleSpec{Action: action, State: state, Source: source, Protocol: protocol, DestinationPort: ports, SourcePort: to, ICMPType: icmp}
		acl, err := ACLSpec{Ingress: []RuleSpec{spec}}.Decode()
		if err != nil {
			return
		}
		for _, r := range acl.Ingress {
			bad := (r.SourcePort != nil || r.DestPort != nil) && r.Protocol != "tcp" && r.Protocol != "udp" ||
				r.ICMPType != nil && r.Protocol != "icmp4" && r.Protocol != "icmp6" || r.Action != action || r.Logged != (state == "logged")
			for _, s := range r.Source {
				bad = bad || !s.IsValid() || s == netipx.IPRange{} || s.From().Zone() != ""
			}
			for _, p := range append(r.SourcePort, r.DestPort...) {
				bad = bad || p.First == 0 || p.Last < p.First
			}
			if bad {
				t.Errorf("%+v becomes %+v", spec, r)
			}
		}
	})
}
