package main

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
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
		Use: "issue NAME... -o FILE", Short: "key and certificate for other hosts, as one file each to carry over",
		Long: `Makes a key and a certificate of this host's CA for another host and writes both,
with the CA's certificate, into one file of mode 0600: carry it over and run
"mailcertd install FILE" there. With several names -o is a directory, and each
host gets NAME.pem in it. The key is not kept here.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the host: mailcertd issue NAME -o FILE")}
			}
			if out == "" {
				return usageError{errors.New("-o FILE is missing: where the key and the certificate are to go")}
			}
			if len(args) > 1 && len(alt) > 0 {
				return usageError{errors.New("--alt is for one host at a time")}
			}
			for _, n := range append(append([]string{}, args...), alt...) {
				if net.ParseIP(n) == nil && !plan.UsableName(strings.ToLower(n)) {
					return usageError{fmt.Errorf("%q is no host name: want letters, digits, dots and dashes", n)}
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
			if days == 0 {
				days = o.cfg.Validity.Days
			}
			if days < 1 || days > o.cfg.CA.Days {
				return usageError{fmt.Errorf("--days %d: want 1 to %d", days, o.cfg.CA.Days)}
			}
			var secret []byte
			for _, name := range args {
				ask := ca.Ask{ByHand: true, Days: days, Name: strings.ToLower(name), Replace: replace}
				for _, n := range alt {
					if ip := net.ParseIP(n); ip != nil {
						ask.IPs = append(ask.IPs, ip)
					} else {
						ask.DNSNames = append(ask.DNSNames, strings.ToLower(n))
					}
				}
				file := out
				if len(args) > 1 {
					file = filepath.Join(out, ask.Name+".pem")
				}
				if _, err := os.Lstat(file); err == nil {
					return fmt.Errorf("%s: is there already, and may hold a key: name another file", file)
				} else if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				done := a.progress("making a "+string(kt)+" key for "+ask.Name, 0)
				key, err := pki.GenerateKeyContext(cmd.Context(), kt, rand.Reader)
				done()
				if err != nil {
					return err
				}
				ask.Public = key.Public()
				d, err := ca.Preview(o.obs.CA, o.opts, ask, time.Now())
				if err != nil {
					return err
				}
				a.showAsk(ask, d, o.obs.CA)
				if err := a.consent(yes, "Sign the certificate?"); err != nil {
					return err
				}
				if encrypt && secret == nil {
					if secret, err = a.newPassphrase("the key in " + file); err != nil {
						return err
					}
				}
				text, err := keyText(key, secret)
				if err != nil {
					return err
				}
				// The key first: a certificate whose key could not be written would be of no use.
				if err := a.disk.Replace(file, text, 0o600); err != nil {
					return err
				}
				s, err := ca.Open(cmd.Context(), a.disk, o.opts)
				if err != nil {
					return errors.Join(err, os.Remove(file))
				}
				cert, _, err := s.Sign(ask, rand.Reader, time.Now())
				bundle := ca.Bundle(s.Observed(), time.Now())
				s.Close()
				if err != nil {
					return errors.Join(err, os.Remove(file))
				}
				text = append(text, pki.EncodeCertificate(cert.Raw)...)
				for _, c := range bundle {
					text = append(text, pki.EncodeCertificate(c.Raw)...)
				}
				if err := a.disk.Replace(file, text, 0o600); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s: key and certificate %s for %s, until %s\n", file, ca.FormatSerial(cert.SerialNumber), ask.Name, cert.NotAfter.Local().Format("2006-01-02"))
			}
			fmt.Fprintln(a.out, "carry it over (scp, sftp), run `mailcertd install FILE` there, and delete the copies")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "the `file` to write, or a directory for several hosts")
	f.StringSliceVar(&alt, "alt", nil, "a further `name` or address; may be repeated")
	f.IntVar(&days, "days", 0, "how long it is valid, in `days` (default: validity.days)")
	f.StringVar(&keyType, "key", "", "the key's `type` (default: key.type)")
	f.BoolVar(&encrypt, "encrypt", false, "protect the key with a passphrase, which install asks for")
	f.BoolVar(&replace, "replace", false, "revoke the valid certificates of that name, as superseded")
	f.BoolVarP(&yes, "yes", "y", false, "sign without asking")
	return cmd
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
