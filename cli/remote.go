package cli

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"netctl/api"
	"netctl/client"
)

// remote returns the commands for the daemons on other hosts.
func (a *app) remote() *cobra.Command {
	return offline(group("remote", "Manage the daemons of other hosts", "",
		a.remoteAdd(), a.remoteList(), a.remoteRemove(), a.remoteSwitch(), a.remoteGetDefault()))
}

// A newcomer is a remote that is being added.
type newcomer struct {
	name, token string
	addresses   []string // URLs, any of which will do
	fingerprint string   // that the daemon must have; empty when the user is to say
	accept      bool     // without asking
}

func (a *app) remoteAdd() *cobra.Command {
	var n newcomer
	cmd := &cobra.Command{
		Use: "add <remote> <address>|<token>", Short: "Get to know a daemon on another host", Args: exactly(2),
		Long: `Get to know a daemon on another host, and have it trust this user's key.

The simplest way is a token, which "netctl config trust add" prints on the
other host: it says where the daemon is and what its certificate is. With an
address, the fingerprint of the certificate is shown and must be agreed to; it
is the one that "netctl config trust fingerprint" prints there.

The daemon must trust the key of this user, which is made when there is none
yet. Either a token sees to that, or an administrator adds the certificate
"client.crt" in the directory netctl below $XDG_CONFIG_HOME or ~/.config.`,
		Example: `  netctl remote add rack7 eyJjbGllbnRfbmFtZSI6ImFsaWNlIiwi...
  netctl remote add rack7 192.0.2.7
  netctl remote add rack7 https://host7.example.net:8443 --token eyJjbGll...`,
		RunE: func(cmd *cobra.Command, args []string) error {
			n.name = args[0]
			if err := n.locate(args[1]); err != nil {
				return &usageError{cmd, err}
			}
			return a.meet(cmd.Context(), n)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&n.accept, "accept-certificate", false, "take the certificate that the daemon shows without asking")
	cmd.Flags().StringVar(&n.token, "token", "", "token with which the daemon trusts this user's key")
	return cmd
}

// locate finds out from the argument and the token where the newcomer is.
func (n *newcomer) locate(arg string) error {
	if t, err := api.ParseCertificateAddToken(arg); err == nil {
		if n.token != "" {
			return errors.New("a token is given twice")
		}
		n.token, n.fingerprint = arg, t.Fingerprint
		for _, addr := range t.Addresses {
			n.addresses = append(n.addresses, "https://"+addr)
		}
		return nil
	}
	if n.token != "" {
		t, err := api.ParseCertificateAddToken(n.token)
		if err != nil {
			return err
		}
		n.fingerprint = t.Fingerprint
	}
	addr, err := remoteURL(arg)
	n.addresses = []string{addr}
	return err
}

// meet gets to know a remote and keeps it.
func (a *app) meet(ctx context.Context, n newcomer) error {
	a.away = true
	known, err := a.remotes()
	if err != nil {
		return err
	}
	if !remoteName.MatchString(n.name) || n.name == local {
		return fmt.Errorf("remote %q cannot be called so: want letters, digits, dots, dashes and underscores, and not %q", n.name, local)
	}
	if old, ok := known.Remotes[n.name]; ok {
		return fmt.Errorf("remote %q is known already, at %s", n.name, old.Address)
	}
	key, err := known.key()
	if err != nil {
		return err
	}
	in := bufio.NewReader(a.In)
	address, cert, err := a.recognize(ctx, n, in)
	if err != nil {
		return err
	}
	// Before the token is used up: who cannot keep what it brings must not.
	if err := known.remember(n.name, cert); err != nil {
		return err
	}
	err = a.introduce(ctx, n, client.HTTPS(address, key, api.Fingerprint(cert.Raw)), in)
	if err == nil {
		known.Remotes[n.name] = remote{Address: address}
		err = known.save()
	}
	if err != nil {
		return errors.Join(err, os.Remove(known.certificate(n.name)))
	}
	return a.say("Remote %s added, at %s", n.name, address)
}

// recognize finds the daemon at one of its addresses and makes sure that it is
// the one that is meant.
func (a *app) recognize(ctx context.Context, n newcomer, in *bufio.Reader) (address string, cert *x509.Certificate, err error) {
	var errs []error
	for _, address := range n.addresses {
		cert, err := client.ServerCertificate(ctx, address)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		have := api.Fingerprint(cert.Raw)
		switch n.fingerprint {
		case "":
			return address, cert, a.agree(address, have, n.accept, in)
		case have:
			return address, cert, nil
		}
		errs = append(errs, &client.CertificateError{Address: address, Want: n.fingerprint, Have: have})
	}
	return "", nil, errors.Join(errs...)
}

// agree asks the user whether a certificate is the right one.
func (a *app) agree(address, fingerprint string, accept bool, in *bufio.Reader) error {
	if accept {
		return nil
	}
	if !a.Terminal {
		return fmt.Errorf("%s shows a certificate with the fingerprint %s, and there is nobody to ask: use a token or --accept-certificate", address, fingerprint)
	}
	_, _ = fmt.Fprintf(a.Err, "%s shows a certificate with the fingerprint\n%s\nIs that the right one (yes, no, or the fingerprint as you know it)? ", address, fingerprint)
	line, err := in.ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(a.Err)
		return errors.New("no answer, so the certificate was not taken")
	}
	switch line = strings.ToLower(strings.TrimSpace(line)); line {
	case "y", "yes", fingerprint:
		return nil
	}
	return errors.New("the certificate was not taken")
}

// introduce makes sure that a daemon trusts this user's key.
func (a *app) introduce(ctx context.Context, n newcomer, c *client.Client, in *bufio.Reader) error {
	defer c.Close()
	s, _, err := c.Server(ctx)
	if err != nil || s.Auth == "trusted" {
		return err
	}
	if n.token == "" && a.Terminal {
		_, _ = fmt.Fprint(a.Err, `The daemon does not know your key yet. Token that "netctl config trust add" has printed there: `)
		if n.token, err = in.ReadString('\n'); err != nil {
			_, _ = fmt.Fprintln(a.Err)
		}
		n.token = strings.TrimSpace(n.token)
	}
	if n.token == "" {
		return errors.New(`the daemon does not trust your key yet: give the token that "netctl config trust add" prints there`)
	}
	_, err = c.CreateCertificate(ctx, api.CertificatesPost{Type: api.CertificateClient, TrustToken: n.token})
	if err != nil {
		return fmt.Errorf("the daemon does not take the token: %w", err)
	}
	return nil
}

// A knownRemote is one row of the list.
type knownRemote struct {
	Name        string `json:"name" yaml:"name"`
	Address     string `json:"address" yaml:"address"`
	Fingerprint string `json:"fingerprint,omitempty" yaml:"fingerprint,omitempty"`
	Default     bool   `json:"default" yaml:"default"`
}

func (a *app) remoteList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the daemons that are known", Args: exactly(0)}
	format := addFormat(cmd, formats...)
	cmd.RunE = func(*cobra.Command, []string) error {
		known, err := a.remotes()
		if err != nil {
			return err
		}
		all := []knownRemote{{Name: local, Address: "unix://" + a.socketPath(), Default: known.Default == local}}
		for _, name := range slices.Sorted(maps.Keys(known.Remotes)) {
			row := knownRemote{Name: name, Address: known.Remotes[name].Address, Default: known.Default == name}
			if row.Fingerprint, err = known.fingerprint(name); err != nil {
				return err
			}
			all = append(all, row)
		}
		g := grid{header: []string{"NAME", "ADDRESS", "FINGERPRINT", "DEFAULT"}}
		for _, r := range all {
			g.rows = append(g.rows, []string{r.Name, r.Address, short(r.Fingerprint), yes(r.Default)})
		}
		return a.list(*format, all, g)
	}
	return cmd
}

// short returns the part of a fingerprint that is enough to tell it by.
func short(fingerprint string) string {
	const enough = 12
	return fingerprint[:min(enough, len(fingerprint))]
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (a *app) remoteRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove <remote>", Aliases: []string{"rm"}, Short: "Forget a daemon", Args: exactly(1),
		Long: `Forget a daemon. It goes on to trust this user's key until that is removed
there, with "netctl config trust remove".`,
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := a.remotes()
			if err != nil {
				return err
			}
			if args[0] == local {
				return fmt.Errorf("%q is the daemon on this host and cannot be removed", local)
			}
			if _, ok := known.Remotes[args[0]]; !ok {
				return fmt.Errorf("remote %q is not known", args[0])
			}
			delete(known.Remotes, args[0])
			if known.Default == args[0] {
				known.Default = local
			}
			if err := known.save(); err != nil {
				return err
			}
			if err := os.Remove(known.certificate(args[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return a.say("Remote %s removed", args[0])
		},
		ValidArgsFunction: a.completeRemote,
	}
}

func (a *app) remoteSwitch() *cobra.Command {
	return &cobra.Command{
		Use: "switch <remote>", Short: "Choose the daemon that commands are for", Args: exactly(1),
		Long: `Choose the daemon that commands are for when nothing else is said: no --remote,
--dir or --socket, and none of the variables that stand for them. The daemon on
this host is called local.`,
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := a.remotes()
			if err != nil {
				return err
			}
			if _, ok := known.Remotes[args[0]]; !ok && args[0] != local {
				return fmt.Errorf("remote %q is not known", args[0])
			}
			known.Default = args[0]
			return known.save()
		},
		ValidArgsFunction: a.completeRemote,
	}
}

func (a *app) remoteGetDefault() *cobra.Command {
	return &cobra.Command{
		Use: "get-default", Short: "Show the daemon that commands are for", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			known, err := a.remotes()
			if err != nil {
				return err
			}
			return a.say("%s", known.Default)
		},
	}
}

// completeRemoteFlag completes --remote.
func (a *app) completeRemoteFlag(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeRemote(cmd, nil, word)
}

// completeRemote completes the name of a remote as the only argument.
func (a *app) completeRemote(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	known, err := a.remotes()
	if err != nil || len(args) > 0 {
		return nil, noFiles
	}
	return append(slices.Sorted(maps.Keys(known.Remotes)), local), noFiles
}
