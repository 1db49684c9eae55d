package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

func (a *app) revokeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "revoke NAME|SERIAL", Args: oneArg("a host's name, or a serial number in hex"),
		Short: "revoke a certificate of this host's CA, or this host's own from an ACME CA",
		Long: `Revokes a certificate of the CA on this host, and makes a new certificate
revocation list (CRL). sendmail reads a CRL only if sendmail.cf names one: see
crl.install in mailcertd.yaml(5). For this host's own certificate from an ACME
CA, asks that CA to revoke it, and obtains another one, with the reasons
keyCompromise and CACompromise for another key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, known := ca.Reasons()[reason]; !known && reason != "" {
				var all []string
				for r := range ca.Reasons() {
					all = append(all, r)
				}
				return usageError{fmt.Errorf("--reason %q: must be one of %s", reason, strings.Join(sorted(all), ", "))}
			}
			public, sure, err := a.publicCertificate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if sure {
				return public.revoke(cmd.Context(), reason)
			}
			o, err := a.localCA(cmd.Context(), toRule)
			if errors.Is(err, errNoCA) && public != nil {
				return public.revoke(cmd.Context(), reason)
			}
			if err != nil {
				return err
			}
			serial, err := ca.Which(o.obs.CA, args[0], o.seen)
			if errors.Is(err, ca.ErrUnknown) && public != nil {
				return public.revoke(cmd.Context(), reason)
			}
			if err != nil {
				return err
			}
			return o.revoke(cmd.Context(), []string{ca.FormatSerial(serial)}, reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "",
		"unspecified, keyCompromise, superseded, cessationOfOperation, affiliationChanged, CACompromise or "+
			"certificateHold")
	return cmd
}

// revokeAll revokes every valid certificate of a host.
func (o *localCA) revokeAll(ctx context.Context, name string) error {
	var serials []string
	err := ca.Each(o.obs.CA, o.seen, func(l ca.Listed) error {
		if l.Status == "valid" && l.Unread != nil {
			return l.Unread
		}
		if l.Status == "valid" && len(l.Names) > 0 && strings.EqualFold(l.Names[0], name) {
			serials = append(serials, l.Serial)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(serials) == 0 {
		fmt.Fprintf(o.out, "%s has no valid certificate, so nothing was revoked\n", name)
		return nil
	}
	return o.revoke(ctx, serials, "cessationOfOperation")
}

// revoke marks certificates as revoked, makes a new CRL, and says who reads it.
func (o *localCA) revoke(ctx context.Context, serials []string, reason string) error {
	s, err := ca.Open(ctx, o.disk, o.opts)
	if err != nil {
		return err
	}
	defer s.Close()
	now := o.at
	for _, serial := range serials {
		n, err := ca.Which(o.obs.CA, serial, o.seen)
		if err != nil {
			return err
		}
		if err := s.Revoke(n, reason, now); errors.Is(err, ca.ErrRevoked) {
			fmt.Fprintln(o.err, "warning:", err)
			continue
		} else if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "revoked %s\n", serial)
	}
	if err := s.WriteCRL(rand.Reader, now); err != nil {
		return fmt.Errorf("the certificate is revoked, but the new CRL could not be made (the daemon tries again): %w",
			err)
	}
	s.Close()
	fmt.Fprintf(o.out, "new CRL in %s\n", o.cfg.CA.Dir)
	o.sayWhoReads()
	// This updates sendmail's copy of the CRL if there is one, and replaces this host's own certificate if that was
	// revoked.
	r, err := o.k.Settle(ctx, plan.Wish{Once: true})
	undone := o.cfg.CRL.Install && !handedOn(o.cfg)
	if len(r.Done) > 0 || undone {
		o.printDone(r, false)
	}
	if err == nil && undone {
		return fmt.Errorf(
			"the certificate is revoked, but sendmail's copy of the CRL, %s, is still the previous one (the daemon "+
				"replaces it)", filepath.Join(o.cfg.Certs.Dir, certdir.CRLName))
	}
	return err
}

// handedOn says whether sendmail's CRL contains the list that the CA made last.
func handedOn(cfg config.Config) bool {
	list, copied := durable.Read(filepath.Join(cfg.CA.Dir, ca.CRLName), maxCRL),
		durable.Read(filepath.Join(cfg.Certs.Dir, certdir.CRLName), maxCRL)
	want, _ := pem.Decode(list.Data)
	for rest := copied.Data; want != nil; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return false
		}
		if bytes.Equal(b.Bytes, want.Bytes) {
			return true
		}
	}
	return false
}

// maxCRL is the largest size of a CRL that is read, in bytes.
const maxCRL = 64 << 20

// sayWhoReads says whether a sendmail.cf on this host makes sendmail read a CRL. Without one sendmail still logs
// verify=OK for a revoked certificate.
func (o *localCA) sayWhoReads() {
	cfs := []mta.CF{o.obs.CF}
	if o.obs.RunningCF != nil {
		cfs = append(cfs, *o.obs.RunningCF)
	}
	any := false
	for _, cf := range cfs {
		switch {
		case cf.Missing:
			fmt.Fprintf(o.out, "there is no %s\n", cf.Path)
		case cf.CRL != "":
			any = true
			fmt.Fprintf(o.out, "%s reads the CRL %s\n", cf.Path, cf.CRL)
		}
	}
	switch {
	case !any:
		fmt.Fprintln(o.out,
			"sendmail on this host reads no CRL, so it logs verify=OK for the certificate until it expires; to "+
				"change that, set crl.install and confCRL")
	case !o.cfg.CRL.Install:
		fmt.Fprintln(o.out, "crl.install is false: mailcertd does not install the CRL there")
	}
	fmt.Fprintln(o.out, "other hosts have their own sendmail.cf; members receive the CRL when they next ask")
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
