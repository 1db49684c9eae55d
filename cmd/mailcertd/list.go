package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

func (a *app) listCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use: "list", Args: noArgs, Short: "the certificates that this host's CA has issued, next due first",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.office(cmd.Context(), toLook)
			if err != nil {
				return err
			}
			now := time.Now()
			rep := listReport{Version: 1, Dir: o.cfg.CA.Dir, Certificates: []listed{}}
			for _, l := range ca.List(o.obs.CA, now) {
				rep.Certificates = append(rep.Certificates, describeListed(o.obs.CA, l, now))
			}
			if a.json {
				return a.printJSON(rep)
			}
			p := a.newPage(now)
			listPage(rep, p)
			return p.writeTo(a.out)
		},
	})
}

// listReport is `list --json`, version 1. Times are UTC, RFC 3339.
type listReport struct {
	Version      int      `json:"version"`
	Dir          string   `json:"dir"`
	Certificates []listed `json:"certificates"`
}

type listed struct {
	Serial  string     `json:"serial"` // hex
	Status  string     `json:"status"` // valid, expired, revoked
	Names   []string   `json:"names"`
	Expires time.Time  `json:"expires"`
	Days    int        `json:"days"` // left; negative when over
	Revoked *time.Time `json:"revoked,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Subject string     `json:"subject"`
	// Enrolled: its host asks for the next one by itself.
	Enrolled bool `json:"enrolled"`
}

func describeListed(o ca.Observed, l ca.Listed, now time.Time) listed {
	return listed{Serial: l.Serial, Status: l.Status, Names: nonNil(l.Names), Expires: l.Expires, Days: wholeDays(l.Expires, now),
		Revoked: moment(l.Revoked), Reason: l.Reason, Subject: l.Subject, Enrolled: len(l.Names) > 0 && ca.Find(o.Members, l.Names[0]) != nil}
}

func wholeDays(end, now time.Time) int {
	d := end.Sub(now)
	if d < 0 {
		return int((d - 24*time.Hour + 1) / (24 * time.Hour))
	}
	return int(d / (24 * time.Hour))
}

func (a *app) revokeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "revoke NAME|SERIAL", Args: oneArg("a host's name, or a serial number in hex"), Short: "revoke a certificate of this host's CA",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, known := ca.Reasons()[reason]; !known && reason != "" {
				var all []string
				for r := range ca.Reasons() {
					all = append(all, r)
				}
				return usageError{fmt.Errorf("--reason %q: want one of %s", reason, strings.Join(sorted(all), ", "))}
			}
			o, err := a.office(cmd.Context(), toRule)
			if err != nil {
				return err
			}
			serial, err := ca.Which(o.obs.CA, args[0], time.Now())
			if err != nil {
				return err
			}
			return a.revoke(cmd.Context(), o, []string{ca.FormatSerial(serial)}, reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "unspecified, keyCompromise, superseded, cessationOfOperation, affiliationChanged, CACompromise or certificateHold")
	return cmd
}

// revokeAll revokes every valid certificate of a host.
func (a *app) revokeAll(ctx context.Context, o *office, name string) error {
	var serials []string
	for _, l := range ca.List(o.obs.CA, time.Now()) {
		if l.Status == "valid" && len(l.Names) > 0 && strings.EqualFold(l.Names[0], name) {
			serials = append(serials, l.Serial)
		}
	}
	if len(serials) == 0 {
		fmt.Fprintf(a.out, "%s has no valid certificate\n", name)
		return nil
	}
	return a.revoke(ctx, o, serials, "cessationOfOperation")
}

// revoke marks certificates, makes the CRL anew and says who reads it.
func (a *app) revoke(ctx context.Context, o *office, serials []string, reason string) error {
	s, err := ca.Open(ctx, a.disk, o.opts)
	if err != nil {
		return err
	}
	defer s.Close()
	now := time.Now()
	for _, serial := range serials {
		n, err := ca.Which(o.obs.CA, serial, now)
		if err != nil {
			return err
		}
		if err := s.Revoke(n, reason, now); errors.Is(err, ca.ErrRevoked) {
			fmt.Fprintln(a.err, "warning:", err)
			continue
		} else if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "revoked %s\n", serial)
	}
	if err := s.WriteCRL(rand.Reader, now); err != nil {
		return fmt.Errorf("revoked, but without a new CRL (the daemon makes it): %w", err)
	}
	s.Close()
	fmt.Fprintf(a.out, "new CRL in %s\n", o.cfg.CA.Dir)
	a.sayWhoReads(o)
	r, err := o.k.Settle(ctx, plan.Wish{Once: true}) // sendmail's copy, where there is one; this host's own certificate, if it was that
	if len(r.Done) > 0 {
		a.printDone(r)
	}
	return err
}

// sayWhoReads says whether any sendmail.cf in sight reads a CRL at all: without
// one a revoked certificate goes on being verify=OK.
func (a *app) sayWhoReads(o *office) {
	cfs := []mta.CF{o.obs.CF}
	if o.obs.RunningCF != nil {
		cfs = append(cfs, *o.obs.RunningCF)
	}
	any := false
	for _, cf := range cfs {
		switch {
		case cf.Missing:
			fmt.Fprintf(a.out, "there is no %s\n", cf.Path)
		case cf.CRL != "":
			any = true
			fmt.Fprintf(a.out, "%s reads the CRL %s\n", cf.Path, cf.CRL)
		}
	}
	switch {
	case !any:
		fmt.Fprintln(a.out, "no sendmail.cf seen from here reads a CRL: to these sendmails the certificate stays verify=OK until it ends (crl.install and confCRL change that)")
	case !o.cfg.CRL.Install:
		fmt.Fprintln(a.out, "crl.install is off: mailcertd does not put the CRL there")
	}
	fmt.Fprintln(a.out, "other hosts read their own sendmail.cf, and get the CRL when they next ask")
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
