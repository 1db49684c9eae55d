package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/issuer"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) requestCommand() *cobra.Command {
	var rekey bool
	cmd := &cobra.Command{
		Use: "request", Args: noArgs, Short: "print a certificate request for this host",
		Long: `Prints a request over this host's key, for its names, to standard output:

  mailcertd request > dhcp.csr        here
  mailcertd sign < dhcp.csr > dhcp.pem    on the host of the CA
  mailcertd install dhcp.pem          here

The key never leaves this host. In one line, where root may log in there:
  mailcertd request | ssh krb5 mailcertd sign --yes > dhcp.pem &&
    mailcertd install dhcp.pem`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			csr, err := k.Request(cmd.Context(), rekey)
			if err != nil {
				return err
			}
			_, err = a.out.Write(csr)
			return err
		},
	}
	cmd.Flags().BoolVar(&rekey, "rekey", false, "over a new key, which waits beside the old one for its certificate")
	return cmd
}

func (a *app) signCommand() *cobra.Command {
	var submit string
	var days int
	var yes, replace bool
	cmd := &cobra.Command{
		Use: "sign [FILE]", Args: atMostOne, Short: "sign another host's request (from standard input or FILE)",
		Long: `Checks a request, shows what it will sign and asks; then prints the certificate
and the CA's own to standard output. The same request again gets the same
certificate. Another key for a name that has a valid certificate is refused,
unless --replace revokes that one, or the last third of its life has begun.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if submit != "" {
				if len(args) > 0 || yes || replace || days != 0 {
					return usageError{errors.New("--submit takes the request from standard input, and no other flags")}
				}
				return a.submit(cmd.Context(), submit)
			}
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			data, err := a.input(file, issuer.MaxRequest)
			if err != nil {
				return fmt.Errorf("the request in %s: %w", or(file, "standard input"), err)
			}
			if len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80 { // a long SEQUENCE
				return fmt.Errorf("the request in %s is DER, want PEM: `openssl req -inform der -in FILE -out FILE.pem` makes that of it", or(file, "standard input"))
			}
			m, err := issuer.ParseRequest(data)
			if err != nil {
				return fmt.Errorf("want a certificate request in PEM, as `mailcertd request` prints it: %w", err)
			}
			req, err := pki.ReadRequest(m.CSR)
			if err != nil {
				return err
			}
			o, err := a.office(cmd.Context(), toSign)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("days") {
				days = o.cfg.Validity.Days
			}
			if days < 1 || days > o.cfg.CA.Days {
				return usageError{fmt.Errorf("--days %d: want 1 to %d", days, o.cfg.CA.Days)}
			}
			ask := ca.Ask{Request: req, ByHand: true, Days: days, Holds: m.Renew, Replace: replace}
			d, err := ca.Preview(o.obs.CA, o.opts, ask, time.Now())
			if err != nil {
				return err
			}
			a.showAsk(ask, d, o.obs.CA)
			if d.Repeat == nil || len(d.Revoke) > 0 {
				if err := a.consent(yes, "Sign the certificate?"); err != nil {
					return err
				}
			}
			cert, bundle, err := a.sign(cmd.Context(), o, ask)
			if err != nil {
				return err
			}
			text := pki.EncodeCertificate(cert.Raw)
			for _, c := range bundle {
				text = append(text, pki.EncodeCertificate(c.Raw)...)
			}
			fmt.Fprintf(a.err, "certificate %s\n", ca.FormatSerial(cert.SerialNumber))
			_, err = a.out.Write(text)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&submit, "submit", "", "hand the request of the enrolled host `NAME` to the daemon: the forced command of its ssh key")
	f.IntVar(&days, "days", 0, "how long it is valid, in `days` (default: validity.days)")
	f.BoolVar(&replace, "replace", false, "revoke the valid certificates of that name over other keys, as superseded")
	f.BoolVarP(&yes, "yes", "y", false, "sign without asking")
	return cmd
}

// submit is what sshd runs for an enrolled host, as an unprivileged user: the
// name comes from authorized_keys, never from the host.
func (a *app) submit(ctx context.Context, name string) error {
	if !plan.UsableName(name) {
		return usageError{fmt.Errorf("--submit %q: want the name of an enrolled host", name)}
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	reply, err := issuer.Submit(ctx, cfg.CA.Inbox, name, a.in)
	if err != nil {
		return err
	}
	_, err = a.out.Write(reply)
	return err
}

func (a *app) installCommand() *cobra.Command {
	var force bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use: "install FILE", Args: oneArg("the file to install"), Short: "install a certificate from a file, with or without its key",
		Long: `Takes a file of "mailcertd issue" or "mailcertd sign", or a bought certificate
with its chain, with or without the key, in any order; - is standard input.
Checks key, names, dates, chain and purpose, and that sendmail accepts it; then
installs it as a whole, keeps a copy of what was there, and waits until sendmail
serves it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			data, err := a.input(args[0], 1<<20)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			k := a.keeper(cfg, a.quiet())
			in := keeper.Incoming{Data: data, Path: args[0], Force: force, DryRun: a.dryRun}
			in.Passphrase = func(opens func([]byte) error) ([]byte, error) {
				return a.askUntil("Passphrase of the key in "+args[0], opens)
			}
			r, notes, err := k.InstallFile(cmd.Context(), in)
			for _, n := range notes {
				fmt.Fprintln(a.err, "warning:", clean(n))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if a.dryRun {
				fmt.Fprintf(a.out, "%s can be installed\n", args[0])
				return nil
			}
			a.printDone(r)
			return verdict(r.Plan)
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "although name, dates or chain are not right")
	return cmd
}

// atMostOne refuses a second argument with exit status 2.
func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("unexpected argument %q", args[1])}
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("want one argument: %s", what)}
		}
		return nil
	}
}

func (a *app) enrolCommand() *cobra.Command {
	var alt, from []string
	var keyFile, target string
	cmd := &cobra.Command{
		Use: "enrol NAME", Args: oneArg("the host's name"), Short: "let another host renew its certificate by itself, over ssh",
		Long: `Enters the host into the list of those that may ask for certificates in their
own name, and prints what goes where: the user that they log in as, the line for
its authorized_keys, and the configuration of the other host. Root need not log
in anywhere, and that user cannot read the CA's key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.ToLower(strings.TrimSuffix(args[0], "."))
			alt, from = separated(alt), separated(from)
			for _, n := range append([]string{name}, alt...) {
				if err := plan.NameError(n); err != nil && (n == name || net.ParseIP(n) == nil) {
					return usageError{fmt.Errorf("%q is no host name: %w", n, err)}
				}
			}
			if target != "" && (strings.HasPrefix(target, "-") || strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'{}[],#", r) })) {
				return usageError{fmt.Errorf("--target %q: want USER@HOST, as ssh(1) takes it", target)}
			}
			for _, f := range from {
				if f == "" || strings.ContainsAny(f, "\"\\ \t\r\n") {
					return usageError{fmt.Errorf("--from %q: want addresses or names as authorized_keys takes them", f)}
				}
			}
			line := "ssh-ed25519 AAAA...  # the contents of /root/.ssh/mailcertd.pub there"
			if keyFile != "" {
				var err error
				if line, err = a.publicKey(keyFile); err != nil {
					return err
				}
			}
			o, err := a.office(cmd.Context(), toSee)
			if err != nil {
				return err
			}
			own, _ := plan.HostName(o.cfg, o.obs.Host)
			if own == name {
				return usageError{fmt.Errorf("%s is this host: its certificate comes from the CA here", name)}
			}
			for _, n := range alt {
				if n == own {
					return usageError{fmt.Errorf("--alt %s: that is the name of this host; %s is another", n, name)}
				}
				if n != name && ca.Find(o.obs.CA.Members, n) != nil {
					return usageError{fmt.Errorf("--alt %s: that is the name of another enrolled host", n)}
				}
			}
			command, err := a.forcedCommand(name)
			if err != nil {
				return err
			}
			if err := ca.Members(cmd.Context(), a.disk, o.cfg.CA.Dir, ca.Enrol(name, alt, time.Now())); err != nil {
				return err
			}
			r, err := o.k.Settle(cmd.Context(), plan.Wish{Once: true})
			if err != nil {
				return err
			}
			return a.printEnrolment(r, enrolment{name: name, from: from, key: line, target: target, command: command, cfg: o.cfg})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&alt, "alt", nil, "a further `name` or address that its certificates may have; may be repeated")
	f.StringArrayVar(&from, "from", nil, "the `address` that it logs in from (default: looked up)")
	f.StringVar(&keyFile, "key", "", "`file` with its public ssh key, - for standard input; without it the line has a gap to fill")
	f.StringVar(&target, "target", "", "how it reaches this host, as `user@host` (default: ca.account and this host's name)")
	return cmd
}

// publicKey reads one line of an OpenSSH public key file.
func (a *app) publicKey(path string) (string, error) {
	data, err := a.input(path, 16<<10)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text := strings.TrimSpace(string(data))
	f := strings.Fields(text)
	if strings.ContainsAny(text, "\r\n\"") || len(f) < 2 || !strings.HasPrefix(f[1], "AAAA") || !strings.HasPrefix(f[0], "ssh-") && !strings.HasPrefix(f[0], "ecdsa-") && !strings.HasPrefix(f[0], "sk-") {
		return "", fmt.Errorf("%s: holds no public ssh key: want one line of a .pub file", path)
	}
	return text, nil
}

func (a *app) unenrolCommand(revoke bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "unenrol NAME", Args: oneArg("the host's name"), Short: "end that, and revoke the host's certificates",
		RunE: func(cmd *cobra.Command, args []string) error {
			n := toLook
			if revoke {
				n = toRule
			}
			o, err := a.office(cmd.Context(), n)
			if err != nil {
				return err
			}
			m := ca.Find(o.obs.CA.Members, args[0])
			if m == nil {
				return fmt.Errorf("%s %w: `mailcertd ca show` lists those that are", args[0], ca.ErrNotEnrolled)
			}
			if err := ca.Members(cmd.Context(), a.disk, o.cfg.CA.Dir, ca.Unenrol(m.Name)); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s may not ask for certificates any more; take its line out of ~%s/.ssh/authorized_keys\n", m.Name, o.cfg.CA.Account)
			if !revoke {
				return nil
			}
			return a.revokeAll(cmd.Context(), o, m.Name)
		},
	}
	if !revoke {
		cmd.Use, cmd.Short = "forget NAME", "take a host that is gone off the list; nothing is revoked"
	}
	return cmd
}

func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "/usr/local/sbin/mailcertd"
}

// separated splits what one flag holds at its commas.
func separated(flag []string) []string {
	var out []string
	for _, f := range flag {
		out = append(out, strings.Split(f, ",")...)
	}
	return out
}
