package api

import "time"

// An Instance is one instance as it is read: a container or a virtual machine
// that others run, and its NICs, which are ours.
type Instance struct {
	Name        string                       `json:"name" yaml:"name"`
	Description string                       `json:"description" yaml:"description"`
	Type        string                       `json:"type" yaml:"type"`     // container or virtual-machine
	Status      string                       `json:"status" yaml:"status"` // Running, Stopped or Error
	StatusCode  int                          `json:"status_code" yaml:"status_code"`
	Config      map[string]string            `json:"config" yaml:"config"`
	Devices     map[string]map[string]string `json:"devices" yaml:"devices"`
	CreatedAt   time.Time                    `json:"created_at" yaml:"created_at"`
	LastUsedAt  time.Time                    `json:"last_used_at" yaml:"last_used_at"` // when it was started last
	Location    string                       `json:"location" yaml:"location"`
	Project     string                       `json:"project" yaml:"project"`

	// What LXD's clients look for. There is one profile, which is empty, so
	// what is expanded is what there is.
	Architecture    string                       `json:"architecture" yaml:"architecture"`
	Ephemeral       bool                         `json:"ephemeral" yaml:"ephemeral"`
	Stateful        bool                         `json:"stateful" yaml:"stateful"`
	Profiles        []string                     `json:"profiles" yaml:"profiles"`
	ExpandedConfig  map[string]string            `json:"expanded_config,omitempty" yaml:"expanded_config,omitempty"`
	ExpandedDevices map[string]map[string]string `json:"expanded_devices,omitempty" yaml:"expanded_devices,omitempty"`

	// StatusMessage says what is wrong and since when, while Status is Error.
	StatusMessage string `json:"status_message,omitempty" yaml:"status_message,omitempty"`
	// State is there when it was asked for with ?recursion=2, or of a single
	// instance with ?recursion=1.
	State *InstanceState `json:"state,omitempty" yaml:"state,omitempty"`
}

// Types of instances.
const (
	Container      = "container"
	VirtualMachine = "virtual-machine"
)

// Status codes of an Instance. A running one has StatusRunning.
const (
	StatusStopped = 102
	StatusErrored = 112
)

// An InstancesPost is the body of POST /1.0/instances.
type InstancesPost struct {
	Name        string                       `json:"name" yaml:"name"`
	Description string                       `json:"description" yaml:"description"`
	Type        string                       `json:"type" yaml:"type"` // container when empty
	Config      map[string]string            `json:"config" yaml:"config"`
	Devices     map[string]map[string]string `json:"devices" yaml:"devices"`
	Source      InstanceSource               `json:"source" yaml:"source"`
	Ephemeral   bool                         `json:"ephemeral,omitempty" yaml:"ephemeral,omitempty"` // not possible
	Profiles    []string                     `json:"profiles,omitempty" yaml:"profiles,omitempty"`   // default at most
	Start       bool                         `json:"start,omitempty" yaml:"start,omitempty"`         // it at once
	Netns       string                       `json:"netns,omitempty" yaml:"netns,omitempty"`         // as in InstanceStatePut
	PID         int                          `json:"pid,omitempty" yaml:"pid,omitempty"`
}

// An InstanceSource says what an instance is made of.
type InstanceSource struct {
	Type string `json:"type" yaml:"type"` // none
}

// An InstancePut is the body of PUT /1.0/instances/{name}.
type InstancePut struct {
	Description string                       `json:"description" yaml:"description"`
	Config      map[string]string            `json:"config" yaml:"config"`
	Devices     map[string]map[string]string `json:"devices" yaml:"devices"`
	Ephemeral   bool                         `json:"ephemeral,omitempty" yaml:"ephemeral,omitempty"`
	Profiles    []string                     `json:"profiles,omitempty" yaml:"profiles,omitempty"`
}

// An InstancePatch is the body of PATCH /1.0/instances/{name}. A device
// replaces the one of its name, and null removes it.
type InstancePatch struct {
	Description *string                      `json:"description,omitempty"`
	Config      map[string]string            `json:"config,omitempty"`
	Devices     map[string]map[string]string `json:"devices,omitempty"`
}

// An InstancePost is the body of POST /1.0/instances/{name}, a change of name.
type InstancePost struct {
	Name      string `json:"name" yaml:"name"`
	Migration bool   `json:"migration,omitempty" yaml:"migration,omitempty"` // not possible
}

// An InstanceState is GET /1.0/instances/{name}/state: what there is of an
// instance on the host.
type InstanceState struct {
	Status     string                          `json:"status" yaml:"status"`
	StatusCode int                             `json:"status_code" yaml:"status_code"`
	Network    map[string]InstanceStateNetwork `json:"network" yaml:"network"` // by the name of the interface inside
	PID        int                             `json:"pid" yaml:"pid"`         // the process whose namespace it is in; -1 when it was not named by one, 0 while it is stopped
	Netns      string                          `json:"netns,omitempty" yaml:"netns,omitempty"`
	Processes  int                             `json:"processes" yaml:"processes"` // -1, for they are not ours to count
}

// An InstanceStateNetwork is one NIC of a running instance, counters and all
// from its own side.
type InstanceStateNetwork struct {
	Addresses []NetworkStateAddress `json:"addresses" yaml:"addresses"` // static ones, and those that it has a lease for
	Counters  NetworkStateCounters  `json:"counters" yaml:"counters"`
	Hwaddr    string                `json:"hwaddr" yaml:"hwaddr"`
	HostName  string                `json:"host_name" yaml:"host_name"` // of the interface on the host
	MTU       int                   `json:"mtu" yaml:"mtu"`
	State     string                `json:"state" yaml:"state"` // up or down: nobody has the tap open, or the interface inside is down
	Type      string                `json:"type" yaml:"type"`   // broadcast
}

// An InstanceStatePut is the body of PUT /1.0/instances/{name}/state.
type InstanceStatePut struct {
	Action   string `json:"action" yaml:"action"` // start, stop or restart
	Timeout  int    `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	Force    bool   `json:"force,omitempty" yaml:"force,omitempty"`
	Stateful bool   `json:"stateful,omitempty" yaml:"stateful,omitempty"` // not possible
	// Netns and PID name the network namespace that a container is started in,
	// which somebody else has made: a name below /run/netns or a path, or a
	// process whose namespace it is. With neither, one of its own is made,
	// named after it.
	Netns string `json:"netns,omitempty" yaml:"netns,omitempty"`
	PID   int    `json:"pid,omitempty" yaml:"pid,omitempty"`
}

// A Profile is GET /1.0/profiles/default: what every instance has, which is
// nothing.
type Profile struct {
	Name        string                       `json:"name" yaml:"name"`
	Description string                       `json:"description" yaml:"description"`
	Config      map[string]string            `json:"config" yaml:"config"`
	Devices     map[string]map[string]string `json:"devices" yaml:"devices"`
	UsedBy      []string                     `json:"used_by" yaml:"used_by"`
	Project     string                       `json:"project" yaml:"project"`
}
