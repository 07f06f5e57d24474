package lab

import "strings"

// QEMU starts a virtual machine without disks whose NIC is a tap of the
// namespace that is there already, and boots it from the network: iPXE, in the
// ROM of the NIC, gets a lease by DHCP and answers pings of its address then,
// until the machine is ended.
//
// The machine is emulated (TCG), so that it runs where there is no KVM; it
// takes some seconds to ask for a lease.
func (ns *NS) QEMU(tap, mac string, options ...string) *Proc {
	ns.Lab.Helper()
	netdev := append([]string{"tap", "id=n0", "ifname=" + tap, "script=no", "downscript=no"}, options...)
	return ns.Start("qemu-system-x86_64", "-accel", "tcg", "-m", "32", "-nodefaults", "-display", "none", "-serial", "stdio",
		"-boot", "n", "-netdev", strings.Join(netdev, ","), "-device", "virtio-net-pci,netdev=n0,mac="+mac)
}
