package link

// Stats is one interface as the kernel shows it now, for display.
type Stats struct {
	MAC   string
	MTU   int // bytes
	Up    bool
	Addrs []Addr // of every scope

	RxBytes, TxBytes, RxPackets, TxPackets uint64

	Ports        []string // names of the bridge's ports, sorted
	BridgeID     string   // as in brctl: priority and MAC, hexadecimal
	STP          bool
	ForwardDelay uint64 // hundredths of a second
	VLANFilter   bool
	VLANDefault  uint64 // the default port VLAN (PVID)
}
