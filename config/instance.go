package config

import (
	"errors"
	"fmt"
	"strings"
)

// Instance is the decoded configuration of an instance, without its devices.
type Instance struct {
	Autostart bool
	Chosen    map[string]*ChosenNIC // by device: what the daemon chose for it
}

// ChosenNIC is what was chosen for a NIC that does not say.
type ChosenNIC struct{ HWAddr, HostName string }

// InstanceSchema declares the keys of instances.
var InstanceSchema = newSchema("instance", "Instance", nil,
	field(Key{
		Name: "boot.autostart", Default: "false",
		Doc:    "Start the instance again after the host was booted.",
		Detail: "A restart of the daemon leaves running instances alone, whatever this says.",
	}, boolean, func(i *Instance) *bool { return &i.Autostart }),
	named(Key{
		Name: "volatile.NAME.hwaddr", Internal: true,
		Doc: "MAC address that was chosen for a NIC without `hwaddr`.",
	}, macAddress, func(i *Instance, nic string) *string { return &i.chosen(nic).HWAddr }),
	named(Key{
		Name: "volatile.NAME.host_name", Internal: true,
		Doc: "Name of the host's interface that was chosen for a NIC without `host_name`.",
	}, nicInterface, func(i *Instance, nic string) *string { return &i.chosen(nic).HostName }),
)

func (i *Instance) chosen(nic string) *ChosenNIC {
	if i.Chosen == nil {
		i.Chosen = map[string]*ChosenNIC{}
	}
	if i.Chosen[nic] == nil {
		i.Chosen[nic] = &ChosenNIC{}
	}
	return i.Chosen[nic]
}

// ValidateInstanceName checks the name of an instance, which is a host name
// (RFC 1123 section 2.1) as LXD has them, and the name of a network namespace.
func ValidateInstanceName(name string) error {
	switch {
	case name == "" || len(name) > 63:
		return fmt.Errorf("invalid instance name %q: must have 1 to 63 characters", name)
	case !isWord(name, "-") || strings.HasSuffix(name, "-"):
		return fmt.Errorf("invalid instance name %q: only letters, digits and hyphens are possible, and a hyphen neither first nor last", name)
	case '0' <= name[0] && name[0] <= '9':
		return fmt.Errorf("invalid instance name %q: must not start with a digit", name)
	}
	return nil
}

// ValidateDeviceName checks the name of a device of an instance.
func ValidateDeviceName(name string) error {
	if err := checkChosen(name); err != nil {
		return fmt.Errorf("invalid device name %q: must be letters, digits, '_' and '-', at most 63, and start with a letter or digit", name)
	}
	return nil
}

// networkName accepts the name of a network.
var networkName = Type[string]{
	Name: "network name", Kind: "string",
	Parse: func(s string) (string, error) {
		if ValidateName(s) != nil {
			return "", errors.New("not the name of a network")
		}
		return s, nil
	},
}
