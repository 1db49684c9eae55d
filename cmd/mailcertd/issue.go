package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) issueCommand() *cobra.Command {
	var alt []string
	var days int
	var out, keyType string
	var yes, encrypt, replace bool
	cmd := &cobra.Command{
		Use: "issue NAME... -o FILE", Short: "key and certificate for other hosts, one file each to carry over",
		Long: `Makes a key and a certificate of this host's CA for another host and writes
both, with the CA's certificate, into one file of mode 0600: carry it over and
run "mailcertd install FILE" there. With several names -o is a directory, and
each host gets NAME.pem in it. The key is not kept here.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the host: mailcertd issue NAME -o FILE")}
			}
			if out == "" {
				return usageError{errors.New("-o FILE is missing: where the key and the certificate are to go")}
			}
			if out == "-" {
				return usageError{errors.New("-o -: a private key is written to a file, which nobody else can read: want its name")}
			}
			alt = separated(alt)
			if len(args) > 1 && len(alt) > 0 {
				return usageError{errors.New("--alt is for one host at a time")}
			}
			for _, n := range append(append([]string{}, args...), alt...) {
				if err := plan.NameError(strings.ToLower(n)); err != nil && net.ParseIP(n) == nil {
					return usageError{fmt.Errorf("%q is no host name: %w", n, err)}
				}
			}
			kt := pki.RSA2048
			if keyType != "" {
				var err error
				if kt, err = pki.ParseKeyType(keyType); err != nil {
					return usageError{err}
				}
			}
			o, err := a.office(cmd.Context(), toSign)
			if err != nil {
				return err
			}
			if keyType == "" {
				kt = o.cfg.Key.Type
			}
			if !cmd.Flags().Changed("days") {
				days = o.cfg.Validity.Days
			}
			if days < 1 || days > o.cfg.CA.Days {
				return usageError{fmt.Errorf("--days %d: want 1 to %d", days, o.cfg.CA.Days)}
			}
			all, err := a.parcels(o, args, alt, out, days, replace)
			if err != nil {
				return err
			}
			secret := func() ([]byte, error) { return nil, nil } // no passphrase
			if encrypt {                                         // asked for once, when it is needed
				secret = sync.OnceValues(func() ([]byte, error) { return a.newPassphrase("the key in " + out) })
			}
			for i, p := range all {
				if err := a.issue(cmd.Context(), o, p, kt, secret, yes); err != nil {
					if i > 0 {
						fmt.Fprintf(a.err, "%s: %d made, the one for %s is the first that is not\n", out, i, p.ask.Name)
					}
					return err
				}
			}
			fmt.Fprintln(a.out, "carry it over (scp, sftp), run `mailcertd install FILE` there, and delete the copies")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "the `file` to write, or a directory for several hosts")
	f.StringArrayVar(&alt, "alt", nil, "a further `name` or address; may be repeated")
	f.IntVar(&days, "days", 0, "how long it is valid, in `days` (default: validity.days)")
	f.StringVar(&keyType, "key", "", "the key's `type` (default: key.type)")
	f.BoolVar(&encrypt, "encrypt", false, "protect the key with a passphrase, which install asks for")
	f.BoolVar(&replace, "replace", false, "revoke the valid certificates of that name, as superseded")
	f.BoolVarP(&yes, "yes", "y", false, "sign without asking")
	return cmd
}

// sign signs with a session of its own, and gives what goes with a certificate.
func (a *app) sign(ctx context.Context, o *office, ask ca.Ask) (*x509.Certificate, []*x509.Certificate, error) {
	s, err := ca.Open(ctx, a.disk, o.opts)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	cert, _, err := s.Sign(ask, rand.Reader, time.Now())
	return cert, ca.Bundle(s.Observed(), time.Now()), err
}

func keyText(key crypto.Signer, secret []byte) ([]byte, error) {
	if secret != nil {
		return pki.Encrypt(key, secret, rand.Reader)
	}
	return pki.MarshalKey(key)
}

// consent asks a person unless yes was said beforehand. Without a terminal
// nothing is signed.
func (a *app) consent(yes bool, question string) error {
	if yes {
		return nil
	}
	ok, err := a.agree(question)
	switch {
	case errors.Is(err, errNoTerminal):
		return usageError{errors.New("nobody is there to say yes: use --yes")}
	case err == nil && !ok:
		return errors.New("nothing was signed")
	}
	return err
}

// showAsk prints what is about to be signed, on standard error.
func (a *app) showAsk(ask ca.Ask, d ca.Decision, o ca.Observed) {
	w := a.err
	if d.Repeat != nil {
		fmt.Fprintf(w, "The valid certificate %s for this key and these names is given again, until %s.\n",
			ca.FormatSerial(d.Repeat.SerialNumber), d.Repeat.NotAfter.Local().Format("2006-01-02"))
		return
	}
	names := append([]string{d.Request.Name}, d.Request.AltNames...)
	until := time.Now().Add(time.Duration(d.Request.Days) * 24 * time.Hour)
	if end := o.Current.Cert.NotAfter; end.Before(until) {
		until = end
	}
	fmt.Fprintf(w, "names    %s\n", clean(strings.Join(names, ", ")))
	fmt.Fprintf(w, "key      %s, SHA-256 %x\n", pki.TypeOf(ask.Public), pki.SPKIDigest(ask.Public))
	fmt.Fprintf(w, "until    %s (%d days)\n", until.Local().Format("2006-01-02"), d.Request.Days)
	fmt.Fprintf(w, "issuer   %s\n", pki.OneLine(o.Current.Cert.RawSubject))
	for _, n := range d.Revoke {
		fmt.Fprintf(w, "revokes  %s, as superseded\n", ca.FormatSerial(n))
	}
}
