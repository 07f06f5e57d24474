package doc

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netctl/test/lab"
)

// The pages about external addresses run on a machine: what a page starts there
// in whatever way, a container or libvirt, ends with the machine, and what it
// stores goes with the machine's files.
func TestExternalAddress(t *testing.T) {
	for page, prepare := range map[string]func(*lab.Machine){
		"howto/external-address-container.md": prepareContainers,
		"howto/external-address-vm.md":        prepareLibvirt,
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			deb, err := lab.Deb("0.1.0")
			if err != nil {
				t.Fatal(err)
			}
			l := lab.New(t, "bash", "podman", "systemd-nspawn", "libvirtd")
			w := &world{Lab: l}
			host, router := l.NS("host"), l.NS("router")
			l.Link(host, "eth0", router, "eth0")
			host.Addr("eth0", "192.0.2.2/24")
			router.Addr("eth0", "192.0.2.1/24")
			host.Run("ip", "route", "add", "default", "via", "192.0.2.1")
			c := routerConfig()
			c.Peers = []lab.RouterPeer{{Addr: netip.MustParseAddr("192.0.2.2"), ASN: 65001}}
			lab.NewFRR(router, c).Start()
			m := host.Machine()
			if err := os.Link(deb, filepath.Join(m.Share, filepath.Base(deb))); err != nil {
				t.Fatal(err)
			}
			m.Run("sh", "-c", "dpkg -i /srv/netctl_0.1.0_*.deb")
			prepare(m)
			w.write = func(path, text string) { writeOn(m, path, text, "644") }
			w.shells = map[string]shell{
				"host":   func(command string) (string, error) { return m.Try("bash", "-c", "cd /srv; "+command) },
				"router": (&pair{world: w}).shell(router),
			}
			w.run(readPage(l, page))
		})
	}
}

// writeOn writes a file on a machine; paths are relative to /srv.
func writeOn(m *lab.Machine, path, text, mode string) {
	m.Lab.Helper()
	draft := filepath.Join(m.Share, ".draft")
	if err := os.WriteFile(draft, []byte(text), 0o600); err != nil {
		m.Lab.Fatalf("%v", err)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join("/srv", path)
	}
	m.Run("install", "-D", "--mode", mode, "/srv/.draft", path)
}

// The first process of a container that systemd-nspawn boots: it asks for a
// lease, and ends when it is told to power off or halt.
const containerInit = `#!/bin/busybox sh
trap 'exit 0' 37 38
/bin/busybox udhcpc -f -i eth0 -s /etc/udhcpc/default.script &
wait
`

// prepareContainers makes an image for podman and the files of a container for
// systemd-nspawn, both of them busybox.
func prepareContainers(m *lab.Machine) {
	m.Lab.Helper()
	// Layers of an overlay on an overlay are not to be had everywhere, and control
	// groups are the machine's business.
	writeOn(m, "/etc/containers/storage.conf", "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n", "644")
	writeOn(m, "/etc/containers/containers.conf", "[containers]\ncgroups = \"disabled\"\n", "644")
	const root = "/var/lib/machines/mail"
	m.Run("sh", "-ec", `mkdir -p $0/bin $0/dev $0/etc/udhcpc $0/proc $0/run $0/sbin $0/sys $0/tmp $0/usr/lib $0/var
		cp /bin/busybox $0/bin && chroot $0 /bin/busybox --install -s /bin
		cp /etc/udhcpc/default.script $0/etc/udhcpc
		echo ID=busybox >$0/usr/lib/os-release
		tar -C $0 -c . | podman import - docker.io/library/busybox:latest`, root)
	writeOn(m, root+"/sbin/init", containerInit, "755")
	m.Run("systemctl", "start", "dbus.socket")
}

// prepareLibvirt starts libvirt as on a host: QEMU runs as a user of its own.
func prepareLibvirt(m *lab.Machine) {
	m.Lab.Helper()
	m.Run("sh", "-c", "id libvirt-qemu || useradd --system --user-group --no-create-home libvirt-qemu")
	writeOn(m, "/etc/libvirt/qemu.conf", "namespaces = []\ncgroup_controllers = []\nsecurity_driver = \"none\"\nstdio_handler = \"file\"\n", "644")
	m.Run("libvirtd", "--daemon")
	m.Lab.Eventually(30*time.Second, "libvirt", func() error {
		_, err := m.Try("virsh", "version")
		return err
	})
}
