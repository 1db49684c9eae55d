package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/page"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) signCommand() *cobra.Command {
	var submit string
	var days int
	var yes, replace, beside bool
	cmd := &cobra.Command{
		Use: "sign [FILE]", Args: atMostOne, Short: "sign another host's request (from standard input or FILE)",
		Long: `Checks a request, shows what it will sign and asks for confirmation. Then it
prints the certificate and those of the CA to standard output. The same request
gets the same certificate again. A request with another key is refused while the
name has a valid certificate, unless --replace revokes that one, the last third
of its lifetime has begun, or --beside says that the key is that of another pair
of the host.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if replace && beside {
				return usageError{errBeside}
			}
			if submit != "" {
				if len(args) > 0 || yes || replace || beside || days != 0 {
					return usageError{
						errors.New("--submit reads the request from standard input, and takes no other options")}
				}
				if !plan.UsableName(submit) {
					return usageError{fmt.Errorf("--submit %q: must be the name of a member", submit)}
				}
				cfg, err := a.load()
				if err != nil {
					return err
				}
				return submitFor(cmd.Context(), cfg.CA.Inbox, submit, a.in, a.out)
			}
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			data, err := a.input(file, issuer.MaxRequest)
			if err != nil {
				return fmt.Errorf("the request in %s: %w", cmp.Or(file, "standard input"), err)
			}
			if len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80 { // this is the beginning of a long SEQUENCE in DER
				return fmt.Errorf(
					"the request in %s is DER, must be PEM: convert it with "+
						"`openssl req -inform der -in FILE -out FILE.pem`", cmp.Or(file, "standard input"))
			}
			m, err := issuer.ParseRequest(data)
			if err != nil {
				if errors.Is(err, issuer.ErrMessage) {
					return fmt.Errorf("%s is not a certificate request: make one with `mailcertd request`",
						cmp.Or(file, "standard input"))
				}
				return fmt.Errorf("the request in %s: %w", cmp.Or(file, "standard input"), err)
			}
			req, err := pki.ReadRequest(m.CSR)
			if err != nil {
				return err
			}
			ask := ca.Ask{Request: req, ByHand: true, Days: days, Holds: m.Renew, Replace: replace, Beside: beside}
			_, names := ask.Names()
			o, err := a.localCA(cmd.Context(), toSign, names...)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("days") {
				days = o.cfg.Validity.Days
			}
			if days < 1 || days > o.cfg.CA.Days {
				return usageError{fmt.Errorf("--days %d: must be 1 to %d", days, o.cfg.CA.Days)}
			}
			ask.Days = days
			d, err := ca.Preview(o.obs.CA, o.opts, ask, o.at)
			if err != nil {
				return err
			}
			o.showAsk(ask, d)
			if d.Repeat == nil || len(d.Revoke) > 0 {
				if err := a.consent(yes, "Sign the certificate?"); err != nil {
					return err
				}
			}
			cert, bundle, err := o.sign(cmd.Context(), ask)
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
	f.StringVar(&submit, "submit", "",
		"pass the request of the member `NAME` to the daemon: the forced command of its ssh key")
	f.IntVar(&days, "days", 0, "the lifetime of the certificate, in `days` (default: validity.days)")
	f.BoolVar(&replace, "replace", false, "revoke the valid certificates of that name with other keys, as superseded")
	f.BoolVar(&beside, "beside", false, besideUsage)
	f.BoolVarP(&yes, "yes", "y", false, "sign without asking for confirmation")
	return cmd
}

// besideUsage describes the option --beside of sign and issue.
const besideUsage = "the key is that of another pair of the host: its valid certificates with other keys stay"

var errBeside = errors.New("--beside keeps the certificates that --replace revokes: use one of them")

// submitFor passes a member's request to the daemon and waits for the answer. sshd runs it as an unprivileged user. The
// member's name comes from authorized_keys, never from the request.
func submitFor(ctx context.Context, box, name string, in io.Reader, out io.Writer) error {
	reply, err := inbox.Submit(ctx, box, name, in)
	if err != nil {
		return err
	}
	_, err = out.Write(reply)
	return err
}

// sign signs in a session of its own. It returns the certificate and the CA certificates that go with it.
func (o *localCA) sign(ctx context.Context, ask ca.Ask) (*x509.Certificate, []*x509.Certificate, error) {
	s, err := ca.Open(ctx, o.disk, o.opts)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	cert, _, err := s.Sign(ask, rand.Reader, o.at)
	return cert, ca.Bundle(s.Observed(), o.at), err
}

// showAsk prints on standard error what is about to be signed.
func (o *localCA) showAsk(ask ca.Ask, d ca.Decision) {
	w := o.err
	if d.Repeat != nil {
		fmt.Fprintf(w, "Certificate %s for this key and these names is still valid, until %s, and is printed again.\n",
			ca.FormatSerial(d.Repeat.SerialNumber), d.Repeat.NotAfter.Local().Format("2006-01-02"))
		return
	}
	names := append([]string{d.Request.Name}, d.Request.AltNames...)
	until := o.at.Add(time.Duration(d.Request.Days) * 24 * time.Hour)
	if end := o.obs.CA.Current.Cert.NotAfter; end.Before(until) {
		until = end
	}
	fmt.Fprintf(w, "names    %s\n", page.Clean(strings.Join(names, ", ")))
	fmt.Fprintf(w, "key      %s, SHA-256 %x\n", pki.TypeOf(ask.Public), pki.SPKIDigest(ask.Public))
	fmt.Fprintf(w, "until    %s (%d days)\n", until.Local().Format("2006-01-02"), d.Request.Days)
	fmt.Fprintf(w, "issuer   %s\n", pki.OneLine(o.obs.CA.Current.Cert.RawSubject))
	for _, n := range d.Revoke {
		fmt.Fprintf(w, "revokes  %s, as superseded\n", ca.FormatSerial(n))
	}
}
