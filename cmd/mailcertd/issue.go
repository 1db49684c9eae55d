package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/parcel"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) issueCommand() *cobra.Command {
	var alt []string
	var days int
	var out, keyType string
	var yes, encrypt, replace, beside bool
	cmd := &cobra.Command{
		Use: "issue NAME... -o FILE", Short: "make key and certificate for other hosts, one file (parcel) each",
		Long: `Makes a key and a certificate for another host, signed by this host's CA. Writes
both, with the CA's certificate, into one file with mode 0600, a parcel: carry
it to that host and run "mailcertd install FILE" there. With several names, -o
is a directory, and each host gets NAME.pem in it. The key is not kept here.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("the host name is missing: mailcertd issue NAME -o FILE")}
			}
			if out == "" {
				return usageError{errors.New("-o FILE is missing: the file for the key and the certificate")}
			}
			if out == "-" {
				return usageError{
					errors.New("-o -: a private key is written only to a file that nobody else can read: name a file")}
			}
			alt = separated(alt)
			if len(args) > 1 && len(alt) > 0 {
				return usageError{errors.New("--alt works with one host name only")}
			}
			if replace && beside {
				return usageError{errBeside}
			}
			for _, n := range append(append([]string{}, args...), alt...) {
				if err := plan.NameError(strings.ToLower(n)); err != nil && net.ParseIP(n) == nil {
					return usageError{fmt.Errorf("%q is not a host name: %w", n, err)}
				}
			}
			kt := pki.RSA2048
			if keyType != "" {
				var err error
				if kt, err = pki.ParseKeyType(keyType); err != nil {
					return usageError{err}
				}
			}
			o, err := a.localCA(cmd.Context(), toSign, pki.CanonicalNames(slices.Concat(args, alt))...)
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
				return usageError{fmt.Errorf("--days %d: must be 1 to %d", days, o.cfg.CA.Days)}
			}
			all, err := o.parcels(args, ca.Ask{ByHand: true, Days: days, Replace: replace, Beside: beside}, alt, out)
			if err != nil {
				return err
			}
			secret := func() ([]byte, error) { return nil, nil } // there is no passphrase
			if encrypt {                                         // the passphrase is asked for once, when it is needed
				secret = sync.OnceValues(func() ([]byte, error) { return a.newPassphrase("the key in " + out) })
			}
			for i, p := range all {
				if err := o.issue(cmd.Context(), p, kt, secret, yes); err != nil {
					if i > 0 {
						fmt.Fprintf(a.err, "%s: %d parcels were made; the one for %s is the first that was not\n", out,
							i, p.ask.Name)
					}
					return err
				}
			}
			fmt.Fprintln(a.out,
				"next: copy the parcel to its host (scp, sftp), run `mailcertd install FILE` there, and delete all "+
					"copies of it")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "the `file` to write, or a directory for several hosts")
	f.StringArrayVar(&alt, "alt", nil, "a further `name` or address; may be repeated")
	f.IntVar(&days, "days", 0, "the lifetime of the certificate, in `days` (default: validity.days)")
	f.StringVar(&keyType, "key", "", "the key's `type` (default: key.type)")
	f.BoolVar(&encrypt, "encrypt", false, "protect the key with a passphrase; install asks for it")
	f.BoolVar(&replace, "replace", false, "revoke the valid certificates of that name, as superseded")
	f.BoolVar(&beside, "beside", false, besideUsage)
	f.BoolVarP(&yes, "yes", "y", false, "sign without asking for confirmation")
	return cmd
}

func keyText(key crypto.Signer, secret []byte) ([]byte, error) {
	if secret != nil {
		return pki.Encrypt(key, secret, rand.Reader)
	}
	return pki.MarshalKey(key)
}

// carried is one host's parcel that `issue` makes: key, certificate and the CA's certificate.
type carried struct {
	ask  ca.Ask
	file string
}

// parcels checks everything that can be checked before the first signature.
func (o *localCA) parcels(names []string, sample ca.Ask, alt []string, out string) ([]carried, error) {
	dir := out
	if len(names) == 1 {
		dir = filepath.Dir(out)
	}
	switch n := durable.Look(dir); {
	case n.Err != nil:
		return nil, n.Err
	case !n.Exists:
		return nil, fmt.Errorf("%s: %w: create the directory first", dir, syscall.ENOENT)
	case !n.IsDir:
		return nil, fmt.Errorf("%s: is not a directory; with several hosts (%s) -o must be one", dir,
			strings.Join(names, ", "))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // in place of the keys that are not made yet
	if err != nil {
		return nil, err
	}
	var all []carried
	seen := map[string]bool{}
	for _, name := range names {
		p := carried{file: out, ask: sample}
		p.ask.Name = strings.ToLower(name)
		if seen[p.ask.Name] {
			return nil, usageError{fmt.Errorf("%s is named twice", p.ask.Name)}
		}
		seen[p.ask.Name] = true
		for _, n := range alt {
			if ip := net.ParseIP(n); ip != nil {
				p.ask.IPs = append(p.ask.IPs, ip)
			} else {
				p.ask.DNSNames = append(p.ask.DNSNames, strings.ToLower(n))
			}
		}
		if len(names) > 1 {
			p.file = filepath.Join(out, p.ask.Name+".pem")
		}
		there, begun := durable.Look(p.file), durable.Look(parcel.Unfinished(p.file))
		switch {
		case there.Kind == durable.Unknown:
			return nil, there.Err
		case there.Kind != durable.Missing:
			return nil, fmt.Errorf("%s: exists already, and may contain a key: choose another file name", p.file)
		case begun.Kind == durable.Unknown:
			return nil, begun.Err
		}
		if begun.Kind == durable.Missing { // if the parcel was begun before, its key decides how it is continued
			ask := p.ask
			ask.Public = key.Public()
			if _, err := ca.Preview(o.obs.CA, o.opts, ask, o.at); err != nil {
				return nil, fmt.Errorf("%s: %w", p.ask.Name, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// issue makes one parcel.
func (o *localCA) issue(ctx context.Context, p carried, kt pki.KeyType, secret func() ([]byte, error),
	yes bool) error {
	key, text, err := parcel.TakeUp(p.file, secret)
	if err != nil {
		return err
	}
	fresh := key == nil
	if fresh {
		done := o.progress("making a "+string(kt)+" key for "+p.ask.Name, 0)
		key, err = pki.GenerateKeyContext(ctx, kt, rand.Reader)
		done()
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintf(o.err, "%s: an interrupted issue left this file; it is completed now\n", parcel.Unfinished(p.file))
	}
	p.ask.Public = key.Public()
	d, err := ca.Preview(o.obs.CA, o.opts, p.ask, o.at)
	if err != nil {
		return err
	}
	o.showAsk(p.ask, d)
	if err := o.consent(yes, "Sign the certificate?"); err != nil {
		return err
	}
	if fresh { // the key is written before the signature: a certificate whose key is lost blocks its name
		word, err := secret()
		if err != nil {
			return err
		}
		if text, err = keyText(key, word); err != nil {
			return err
		}
		if err := parcel.Begin(o.disk, p.file, text); err != nil {
			return err
		}
	}
	cert, bundle, err := o.sign(ctx, p.ask)
	switch {
	case errors.Is(err, ca.ErrMade):
		return fmt.Errorf("%w; its key is kept in %s: run the same command again to complete it", err,
			parcel.Unfinished(p.file))
	case err != nil && fresh: // nothing was signed
		return errors.Join(err, os.Remove(parcel.Unfinished(p.file)))
	case err != nil:
		return err
	}
	if err := parcel.Finish(o.disk, p.file, text, append([]*x509.Certificate{cert}, bundle...)); err != nil {
		return err
	}
	fmt.Fprintf(o.out, "%s: key and certificate %s for %s, until %s\n", p.file, ca.FormatSerial(cert.SerialNumber),
		p.ask.Name, cert.NotAfter.Local().Format("2006-01-02"))
	return nil
}
