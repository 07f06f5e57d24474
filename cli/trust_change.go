package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
)

// trustClient is client for commands that change the trust store. A dry run of
// them has no plan to show, since nothing changes on the host: trusted says
// what it would do.
func (a *app) trustClient() *client.Client {
	c := a.client()
	if a.dryRun {
		c = c.DryRun(func(api.Plan) error { return nil })
	}
	return c
}

// trusted says what was done to the trust store, or would be.
func (a *app) trusted(did, would string, args ...any) error {
	if a.dryRun {
		return write(a.Out, fmt.Sprintf(would+"\n", args...))
	}
	return a.say(did, args...)
}

func (a *app) trustSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set <name>|<fingerprint> <key>=<value>... | <key> <value>", Short: "Change the name of a client, or what it may do",
		Long: `Change the name of a client, or what it may do.

The keys are name, what the client is called here, and restricted, true when it
may only read. All that are given change together or not at all, and at once.`,
		Example: `  netctl config trust set alice restricted=true
  netctl config trust set 0306454f8812 name=alice`,
		Args: withAssignments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := assignments(args[1:])
			if err != nil {
				return err
			}
			patch, err := trustPatch(values)
			if err != nil {
				return &usageError{cmd, err}
			}
			c := a.trustClient()
			cert, err := findClient(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			_, err = a.patchClient(cmd.Context(), c, cert, patch, "")
			return err
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			switch {
			case len(args) == 0:
				return a.completeClient(cmd, args, word)
			case strings.HasPrefix(word, "restricted="):
				return []string{"restricted=false", "restricted=true"}, noFiles
			}
			return []string{"name=", "restricted="}, noFiles | cobra.ShellCompDirectiveNoSpace
		},
	}
	a.addDryRun(cmd)
	return cmd
}

// trustPatch returns the change that assignments ask for.
func trustPatch(values map[string]string) (api.CertificatePatch, error) {
	var p api.CertificatePatch
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		switch key {
		case "name":
			p.Name = &value
		case "restricted":
			restricted := value == "true"
			if !restricted && value != "false" {
				return p, fmt.Errorf("restricted=%s: want true or false", value)
			}
			p.Restricted = &restricted
		default:
			return p, fmt.Errorf("key %q cannot be changed of a client: there are name and restricted", key)
		}
	}
	return p, nil
}

// patchClient changes a client that is trusted.
func (a *app) patchClient(ctx context.Context, c *client.Client, cert api.Certificate, p api.CertificatePatch, etag string) (int64, error) {
	rev, err := c.PatchCertificate(ctx, cert.Fingerprint, p, etag)
	if err != nil || !a.dryRun {
		return rev, err
	}
	var changes []string
	if p.Name != nil && *p.Name != cert.Name {
		changes = append(changes, "be called "+*p.Name)
	}
	if p.Restricted != nil && *p.Restricted != cert.Restricted {
		changes = append(changes, "be able to do "+map[bool]string{false: "everything", true: "no more than read"}[*p.Restricted])
	}
	if len(changes) == 0 {
		return 0, write(a.Out, "Nothing would change\n")
	}
	return 0, write(a.Out, fmt.Sprintf("Client %s would %s, fingerprint %s\n", cert.Name, strings.Join(changes, " and "), cert.Fingerprint))
}

const trustHelp = `This is what can be changed of a client, as YAML: what it is called here, and
whether it may only read. Lines at the top that start with ### are left out.
Without a change nothing is written.`

// A trustText is what an editor is given of a certificate, and what it may give
// back: all that "show" prints.
type trustText struct {
	api.CertificatePatch `yaml:",inline"`

	Fingerprint string `yaml:"fingerprint,omitempty"`
}

func (a *app) trustEdit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "edit <name>|<fingerprint>", Short: "Edit a client that is trusted as YAML",
		Long: `Edit the name of a client, and what it may do, as YAML.

The editor is $VISUAL, $EDITOR or vi. When the standard input is not a
terminal, the text is read from there instead; what "show" prints is accepted.
What the text does not mention stays as it is.`,
		Example: `  netctl config trust edit alice`,
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.trustClient()
			cert, err := findClient(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			_, err = edit{
				what: fmt.Sprintf("client %q", cert.Name), help: trustHelp,
				load: func(ctx context.Context) (any, string, error) {
					now, etag, err := c.Certificate(ctx, cert.Fingerprint)
					return trustText{CertificatePatch: api.CertificatePatch{Name: &now.Name, Restricted: &now.Restricted}}, etag, err
				},
				save: func(ctx context.Context, text []byte, etag string) (int64, error) {
					var t trustText
					if err := decodeFields(text, &t); err != nil {
						return 0, err
					}
					if t.Fingerprint != "" && t.Fingerprint != cert.Fingerprint {
						return 0, fmt.Errorf("the fingerprint of client %q cannot be changed: it is that of the certificate", cert.Name)
					}
					return a.patchClient(ctx, c, cert, t.CertificatePatch, etag)
				},
			}.run(cmd.Context(), a)
			return err
		},
		ValidArgsFunction: a.completeClient,
	}
	a.addDryRun(cmd)
	return cmd
}
