// Package api holds what travels between netctld and its clients: the types
// of the REST API, its error codes and its events.
//
// The conventions are those of LXD's API, so that clients written for it work:
// an [Envelope] around every answer, objects with string maps for their
// configuration, ETag and If-Match, and recursion by query parameter. What is
// ours beyond LXD is announced by the extension "netctl_bgp".
package api

import (
	"encoding/json"
	"time"
)

// Version and Commit are stamped into the binaries when they are linked.
var (
	Version = "0.0.0-dev"
	Commit  = "unknown"
)

// APIVersion is the version of the REST API, part of every path.
const APIVersion = "1.0"

// HeaderRevision is the response header that carries the revision of the
// database that a write produced, or that an answer was read at.
const HeaderRevision = "Netctl-Revision"

// Mask stands for a secret that is not shown. Written back, it keeps the
// secret as it is.
const Mask = "***"

// An Envelope wraps every answer.
type Envelope struct {
	Type       string          `json:"type"` // sync, async or error
	Status     string          `json:"status,omitempty"`
	StatusCode int             `json:"status_code,omitempty"`
	Operation  string          `json:"operation"`
	ErrorCode  int             `json:"error_code"`
	Error      string          `json:"error"`
	Metadata   json.RawMessage `json:"metadata"`
}

// Types of an Envelope.
const (
	TypeSync  = "sync"
	TypeAsync = "async"
	TypeError = "error"
)

// A Server is GET /1.0: the daemon, its surroundings and its configuration.
type Server struct {
	APIExtensions []string          `json:"api_extensions" yaml:"api_extensions"`
	APIStatus     string            `json:"api_status" yaml:"api_status"`
	APIVersion    string            `json:"api_version" yaml:"api_version"`
	Auth          string            `json:"auth" yaml:"auth"` // trusted or untrusted
	Public        bool              `json:"public" yaml:"public"`
	AuthMethods   []string          `json:"auth_methods" yaml:"auth_methods"`
	Config        map[string]string `json:"config" yaml:"config"`
	Environment   Environment       `json:"environment" yaml:"environment"`
}

// An Environment describes the daemon and the host that it runs on.
type Environment struct {
	Addresses       []string `json:"addresses" yaml:"addresses"` // that HTTPS is served at
	Architectures   []string `json:"architectures" yaml:"architectures"`
	Firewall        string   `json:"firewall" yaml:"firewall"`
	Kernel          string   `json:"kernel" yaml:"kernel"`
	KernelVersion   string   `json:"kernel_version" yaml:"kernel_version"`
	Project         string   `json:"project" yaml:"project"`
	Server          string   `json:"server" yaml:"server"` // netctl
	ServerClustered bool     `json:"server_clustered" yaml:"server_clustered"`
	ServerName      string   `json:"server_name" yaml:"server_name"`
	ServerPID       int      `json:"server_pid" yaml:"server_pid"`
	ServerVersion   string   `json:"server_version" yaml:"server_version"`
	// Certificate is what the daemon shows to clients over HTTPS, as PEM. It is
	// empty while HTTPS is not served.
	Certificate            string `json:"certificate,omitempty" yaml:"certificate,omitempty"`
	CertificateFingerprint string `json:"certificate_fingerprint,omitempty" yaml:"certificate_fingerprint,omitempty"`
}

// A ServerPut is the body of PUT and PATCH /1.0.
type ServerPut struct {
	Config map[string]string `json:"config" yaml:"config"`
}

// A Network is one network as it is read.
type Network struct {
	Name        string            `json:"name" yaml:"name"`
	Description string            `json:"description" yaml:"description"`
	Type        string            `json:"type" yaml:"type"` // bridge
	Managed     bool              `json:"managed" yaml:"managed"`
	Status      string            `json:"status" yaml:"status"` // Created, Pending or Errored
	Config      map[string]string `json:"config" yaml:"config"`
	UsedBy      []string          `json:"used_by" yaml:"used_by"`
	Locations   []string          `json:"locations" yaml:"locations"`
	Project     string            `json:"project" yaml:"project"`
	// StatusMessage says what is wrong and since when, while Status is Errored.
	StatusMessage string `json:"status_message,omitempty" yaml:"status_message,omitempty"`
}

// Values of Network.Status.
const (
	NetworkCreated = "Created" // stored, and as far as is known in place
	NetworkPending = "Pending" // stored, not yet in place
	NetworkErrored = "Errored" // not in place, and being retried
)

// A NetworksPost is the body of POST /1.0/networks.
type NetworksPost struct {
	Name        string            `json:"name" yaml:"name"`
	Type        string            `json:"type" yaml:"type"` // bridge when empty
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
}

// A NetworkPut is the body of PUT and PATCH /1.0/networks/{name}.
type NetworkPut struct {
	Description string            `json:"description" yaml:"description"`
	Config      map[string]string `json:"config" yaml:"config"`
}

// A NetworkPatch is NetworkPut with a description that may be left alone.
type NetworkPatch struct {
	Description *string           `json:"description,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// A NetworkPost is the body of POST /1.0/networks/{name}, a change of name.
type NetworkPost struct {
	Name string `json:"name" yaml:"name"`
}

// A NetworkState is GET /1.0/networks/{name}/state: the interface as the
// kernel has it now.
type NetworkState struct {
	Addresses []NetworkStateAddress `json:"addresses" yaml:"addresses"`
	Counters  NetworkStateCounters  `json:"counters" yaml:"counters"`
	Hwaddr    string                `json:"hwaddr" yaml:"hwaddr"`
	MTU       int                   `json:"mtu" yaml:"mtu"`
	State     string                `json:"state" yaml:"state"` // up or down
	Type      string                `json:"type" yaml:"type"`   // broadcast
	Bridge    *NetworkStateBridge   `json:"bridge" yaml:"bridge"`
}

// A NetworkStateAddress is one address of an interface.
type NetworkStateAddress struct {
	Family  string `json:"family" yaml:"family"` // inet or inet6
	Address string `json:"address" yaml:"address"`
	Netmask string `json:"netmask" yaml:"netmask"` // prefix length
	Scope   string `json:"scope" yaml:"scope"`     // global, link or local
}

// NetworkStateCounters counts what passed an interface.
type NetworkStateCounters struct {
	BytesReceived   uint64 `json:"bytes_received" yaml:"bytes_received"`
	BytesSent       uint64 `json:"bytes_sent" yaml:"bytes_sent"`
	PacketsReceived uint64 `json:"packets_received" yaml:"packets_received"`
	PacketsSent     uint64 `json:"packets_sent" yaml:"packets_sent"`
}

// A NetworkStateBridge describes a bridge.
type NetworkStateBridge struct {
	ID            string   `json:"id" yaml:"id"`
	STP           bool     `json:"stp" yaml:"stp"`
	ForwardDelay  uint64   `json:"forward_delay" yaml:"forward_delay"` // hundredths of a second
	UpperDevices  []string `json:"upper_devices" yaml:"upper_devices"` // the ports
	VLANDefault   uint64   `json:"vlan_default" yaml:"vlan_default"`
	VLANFiltering bool     `json:"vlan_filtering" yaml:"vlan_filtering"`
}

// A NetworkLease is one address in use on a network.
type NetworkLease struct {
	Hostname string `json:"hostname" yaml:"hostname"`
	Hwaddr   string `json:"hwaddr" yaml:"hwaddr"`
	Address  string `json:"address" yaml:"address"`
	Type     string `json:"type" yaml:"type"` // dynamic, static or gateway
	Location string `json:"location" yaml:"location"`
	Project  string `json:"project,omitempty" yaml:"project,omitempty"`
}

// A Status is GET /1.0/status: how far the host has followed the database.
// With ?revision=R&timeout=S the answer waits until every target has applied
// R, or for S seconds.
type Status struct {
	Revision int64    `json:"revision" yaml:"revision"` // of the database
	Applied  int64    `json:"applied" yaml:"applied"`   // what every target has applied
	Targets  []Target `json:"targets" yaml:"targets"`
}

// A Target is one part of the host that follows the database.
type Target struct {
	Name    string    `json:"name" yaml:"name"`       // link, firewall, dhcp, bgp, https or metrics
	Applied int64     `json:"applied" yaml:"applied"` // the revision that it has applied
	Error   string    `json:"error,omitempty" yaml:"error,omitempty"`
	Since   time.Time `json:"since,omitzero" yaml:"since,omitempty"` // of the error
}

// An Event is one message of GET /1.0/events.
type Event struct {
	Type      string          `json:"type" yaml:"type"` // lifecycle, logging or operation
	Timestamp time.Time       `json:"timestamp" yaml:"timestamp"`
	Metadata  json.RawMessage `json:"metadata" yaml:"metadata"`
	Location  string          `json:"location,omitempty" yaml:"location,omitempty"`
	Project   string          `json:"project,omitempty" yaml:"project,omitempty"`
}

// Types of an Event.
const (
	EventLifecycle = "lifecycle"
	EventLogging   = "logging"
	EventOperation = "operation"
)

// An EventLifecycleBody is the metadata of a lifecycle event.
type EventLifecycleBody struct {
	Action    string         `json:"action" yaml:"action"` // as in network-created
	Source    string         `json:"source" yaml:"source"` // the path of the object
	Context   map[string]any `json:"context,omitempty" yaml:"context,omitempty"`
	Requestor *Requestor     `json:"requestor,omitempty" yaml:"requestor,omitempty"`
}

// A Requestor says who asked for a change.
type Requestor struct {
	Username string `json:"username" yaml:"username"` // or the name of the certificate
	Protocol string `json:"protocol" yaml:"protocol"` // unix or tls
	Address  string `json:"address" yaml:"address"`
}

// An EventLoggingBody is the metadata of a logging event.
type EventLoggingBody struct {
	Message string            `json:"message" yaml:"message"`
	Level   string            `json:"level" yaml:"level"` // debug, info, warning or error
	Context map[string]string `json:"context" yaml:"context"`
}

// An Operation is something that goes on after the request that began it was
// answered: a task, or a token that waits to be used.
type Operation struct {
	ID          string              `json:"id" yaml:"id"`
	Class       string              `json:"class" yaml:"class"` // task or token
	Description string              `json:"description" yaml:"description"`
	CreatedAt   time.Time           `json:"created_at" yaml:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at" yaml:"updated_at"`
	Status      string              `json:"status" yaml:"status"` // of StatusText
	StatusCode  int                 `json:"status_code" yaml:"status_code"`
	Resources   map[string][]string `json:"resources" yaml:"resources"`
	Metadata    map[string]any      `json:"metadata" yaml:"metadata"`
	MayCancel   bool                `json:"may_cancel" yaml:"may_cancel"`
	Err         string              `json:"err" yaml:"err"`
	Location    string              `json:"location" yaml:"location"`
}

// Classes of operations.
const (
	OperationToken = "token" // it waits for somebody who has its secret
	OperationTask  = "task"  // something is being done
)

// Status codes of an Operation and of the Envelope that announces one.
const (
	StatusCreated   = 100
	StatusRunning   = 103
	StatusSuccess   = 200
	StatusFailure   = 400
	StatusCancelled = 401
)

// StatusText returns the name of a status code.
func StatusText(code int) string {
	return map[int]string{
		StatusCreated: "Operation created", StatusRunning: "Running", StatusSuccess: "Success", StatusFailure: "Failure",
		StatusCancelled: "Cancelled", StatusStopped: "Stopped", StatusErrored: "Error",
	}[code]
}

// A Shutdown is the body of PUT /internal/shutdown; an empty body is the zero
// Shutdown.
type Shutdown struct {
	// Message is shown to the operators of the peers (RFC 9003), at most 255
	// bytes of UTF-8.
	Message string `json:"message"`
	// RemoveBridges takes the bridges down too.
	RemoveBridges bool `json:"remove_bridges"`
}
