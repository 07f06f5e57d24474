package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
)

// trust returns the commands for who may use the daemon over the network.
func (a *app) trust() *cobra.Command {
	return group("trust", "Manage who may use the daemon over HTTPS", "",
		a.trustAdd(), a.trustList(), a.trustShow(), a.trustSet(), a.trustEdit(), a.trustRemove(),
		a.trustTokens(), a.trustRevoke(), a.trustFingerprint())
}

func (a *app) trustAdd() *cobra.Command {
	var p api.CertificatesPost
	cmd := &cobra.Command{
		Use: "add --name <name> | add <certificate file>", Short: "Let a client use the daemon", Args: atMost(1),
		Long: `Let a client use the daemon over HTTPS.

Without a certificate, this prints a token to hand to the client, who uses it
with "netctl remote add" or "lxc remote add". It is good once, until it expires
after the time that core.remote_token_expiry says, one day unless it is set,
and not longer than the daemon runs. Whoever has it first gets in with it.

A restricted client may only read, and no secrets.`,
		Example: `  netctl config trust add --name alice
  netctl config trust add --name dashboard --restricted
  netctl config trust add alice.crt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.trustClient()
			if len(args) == 1 {
				return a.addCertificate(cmd.Context(), c, args[0], p)
			}
			if p.Name == "" {
				return &usageError{cmd, errors.New("a token is for somebody: give the client's name with --name, or a certificate")}
			}
			return a.makeToken(cmd.Context(), c, p)
		},
	}
	p.Type = api.CertificateClient
	cmd.Flags().StringVar(&p.Name, "name", "", "what the client is called here")
	cmd.Flags().BoolVar(&p.Restricted, "restricted", false, "the client may only read")
	a.addDryRun(cmd)
	return cmd
}

func (a *app) addCertificate(ctx context.Context, c *client.Client, path string, p api.CertificatesPost) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%s is not a certificate in PEM form", path)
	}
	if p.Name == "" {
		p.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	p.Certificate = string(pem.EncodeToMemory(block))
	if _, err := c.CreateCertificate(ctx, p); err != nil {
		return err
	}
	return a.trusted("Client %s added, fingerprint %s", "Client %s would be added, fingerprint %s", p.Name, api.Fingerprint(block.Bytes))
}

func (a *app) makeToken(ctx context.Context, c *client.Client, p api.CertificatesPost) error {
	t, err := c.CreateToken(ctx, p)
	switch {
	case err != nil:
		return err
	case a.dryRun:
		return write(a.Out, fmt.Sprintf("A token for client %s would be made\n", p.Name))
	}
	_, _ = fmt.Fprintf(a.Err, "Token for client %s, good once and until %s:\n", p.Name, t.ExpiresAt.UTC().Format(time.RFC3339))
	return a.say("%s", t)
}

func (a *app) trustList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the clients that are trusted", Args: exactly(0)}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		certs, err := a.client().Certificates(cmd.Context())
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "FINGERPRINT", "MAY", "ISSUED TO", "EXPIRES"}}
		for _, c := range certs {
			subject, expires := issued(c)
			may := "everything"
			if c.Restricted {
				may = "read"
			}
			g.rows = append(g.rows, []string{c.Name, short(c.Fingerprint), may, subject, expires})
		}
		return a.list(*format, certs, g)
	}
	return cmd
}

// issued returns what a certificate says of itself.
func issued(c api.Certificate) (subject, expires string) {
	block, _ := pem.Decode([]byte(c.Certificate))
	if block == nil {
		return "", ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", ""
	}
	return cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.DateOnly)
}

// findClient returns the trusted client with a name, or with a fingerprint that
// begins so. The beginning must be long enough not to be a slip of the finger.
func findClient(ctx context.Context, c *client.Client, arg string) (api.Certificate, error) {
	const enough = 4
	certs, err := c.Certificates(ctx)
	if err != nil {
		return api.Certificate{}, err
	}
	var found []api.Certificate
	for _, c := range certs {
		if c.Name == arg || len(arg) >= enough && strings.HasPrefix(c.Fingerprint, strings.ToLower(arg)) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return api.Certificate{}, fmt.Errorf("client %q not found: neither a name, nor %d digits or more that a fingerprint begins with", arg, enough)
	case 1:
		return found[0], nil
	}
	return api.Certificate{}, fmt.Errorf("client %q: %d clients are called so, or have a fingerprint that begins so: give more of the fingerprint", arg, len(found))
}

func (a *app) trustShow() *cobra.Command {
	return &cobra.Command{
		Use: "show <name>|<fingerprint>", Short: "Show a client that is trusted", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := findClient(cmd.Context(), a.client(), args[0])
			if err != nil {
				return err
			}
			return a.object("yaml", c)
		},
		ValidArgsFunction: a.completeClient,
	}
}

func (a *app) trustRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove <name>|<fingerprint>", Aliases: []string{"rm"}, Short: "Trust a client no more", Args: exactly(1),
		Long: `Trust a client no more. What it is doing ends at once.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.trustClient()
			cert, err := findClient(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if _, err := c.DeleteCertificate(cmd.Context(), cert.Fingerprint, ""); err != nil {
				return err
			}
			return a.trusted("Client %s removed, fingerprint %s", "Client %s would be removed, fingerprint %s", cert.Name, cert.Fingerprint)
		},
		ValidArgsFunction: a.completeClient,
	}
	a.addDryRun(cmd)
	return cmd
}

// An openToken is a token that can be used, with the operation that stands for
// it.
type openToken struct {
	Name      string    `json:"name" yaml:"name"`
	Token     string    `json:"token" yaml:"token"`
	ExpiresAt time.Time `json:"expires_at" yaml:"expires_at"`

	operation  string
	restricted bool
}

// openTokens returns the tokens that can be used.
func openTokens(ctx context.Context, c *client.Client) ([]openToken, error) {
	ops, err := c.Operations(ctx)
	if err != nil {
		return nil, err
	}
	out := []openToken{}
	for _, op := range ops["running"] {
		if t, ok := op.Token(); ok {
			request, _ := op.Metadata["request"].(map[string]any)
			restricted, _ := request["restricted"].(bool)
			out = append(out, openToken{t.ClientName, t.String(), t.ExpiresAt, op.ID, restricted})
		}
	}
	return out, nil
}

func (a *app) trustTokens() *cobra.Command {
	cmd := &cobra.Command{Use: "list-tokens", Short: "List the tokens that can be used", Args: exactly(0)}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		tokens, err := openTokens(cmd.Context(), a.client())
		if err != nil {
			return err
		}
		g := grid{header: []string{"NAME", "RESTRICTED", "EXPIRES", "TOKEN"}}
		for _, t := range tokens {
			g.rows = append(g.rows, []string{t.Name, strconv.FormatBool(t.restricted), t.ExpiresAt.UTC().Format(time.RFC3339), t.Token})
		}
		return a.list(*format, tokens, g)
	}
	return cmd
}

func (a *app) trustRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke-token <name>", Short: "Make the tokens for a client useless", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			tokens, err := openTokens(cmd.Context(), c)
			if err != nil {
				return err
			}
			found := false
			for _, t := range tokens {
				if t.Name != args[0] {
					continue
				}
				found = true
				if err := c.CancelOperation(cmd.Context(), t.operation); err != nil {
					return err
				}
			}
			if !found {
				return fmt.Errorf("there is no token for client %q", args[0])
			}
			return a.say("Token for client %s revoked", args[0])
		},
	}
}

func (a *app) trustFingerprint() *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Show the fingerprint of the daemon's own certificate", Args: exactly(0),
		Long: `Show the fingerprint of the certificate that the daemon shows to its clients,
for those who want to compare.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := a.client().Server(cmd.Context())
			if err != nil {
				return err
			}
			if s.Environment.CertificateFingerprint == "" {
				return errors.New("the daemon is not served over HTTPS: set core.https_address")
			}
			return a.say("%s", s.Environment.CertificateFingerprint)
		},
	}
}

// completeClient completes the name of a trusted client.
func (a *app) completeClient(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.ask(cmd, func(ctx context.Context, c *client.Client) []string {
		certs, err := c.Certificates(ctx)
		if err != nil {
			return nil
		}
		var names []string
		for _, c := range certs {
			names = append(names, c.Name)
		}
		return names
	}), noFiles
}
