package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// errServesAnother says that sendmail answered, and not with the leaf on disk.
var errServesAnother = errors.New("sendmail does not serve the certificate on disk")

// probeFor bounds one probe as a whole.
const probeFor = 20 * time.Second

// probeAddrs is where the running sendmail is asked, nil with probe: none.
func (k *Keeper) probeAddrs(r *Result) []string {
	switch p := k.cfg.Sendmail.Probe; p {
	case "none":
		return nil
	case "auto", "":
		cf := r.Observed.CF
		if r.Observed.RunningCF != nil {
			cf = *r.Observed.RunningCF
		}
		if addrs := cf.ProbeAddrs(); len(addrs) > 0 {
			return addrs
		}
		return []string{"127.0.0.1:25"}
	default:
		if _, _, err := net.SplitHostPort(p); err != nil {
			return []string{net.JoinHostPort(strings.Trim(p, "[]"), "25")}
		}
		return []string{p}
	}
}

// prove asks sendmail for its certificate and compares it with the disk. The
// first address that answers decides: all are served by one daemon.
func (k *Keeper) prove(ctx context.Context, r *Result, id mta.Identity) (*Pickup, error) {
	addrs := k.probeAddrs(r)
	if len(addrs) == 0 {
		return &Pickup{Result: plan.Unproven, Detail: "sendmail.probe is none: its new instance was seen, its certificate was not"}, nil
	}
	var problems []error
	for _, addr := range addrs {
		pctx, cancel := context.WithTimeout(ctx, probeFor)
		s := mta.Probe(pctx, addr, k.helo(r))
		cancel()
		switch {
		case s.Err != nil:
			problems = append(problems, s.Err)
			continue
		case !s.Offered:
			return nil, fmt.Errorf("%s: STARTTLS is not offered", addr)
		}
		if OnDisk(r, s.Leaf) {
			return &Pickup{Result: plan.Proven, Serial: serial(s.Leaf), Addr: addr}, nil
		}
		return nil, fmt.Errorf("%s: %w: it serves serial %s, on disk is %s", addr, errServesAnother, serial(s.Leaf), diskSerial(r))
	}
	return nil, errors.Join(problems...)
}

// Serves looks at what sendmail serves, for a person who asked.
func (k *Keeper) Serves(ctx context.Context, r Result) []mta.Served {
	var out []mta.Served
	for _, addr := range k.probeAddrs(&r) {
		pctx, cancel := context.WithTimeout(ctx, probeFor)
		out = append(out, mta.Probe(pctx, addr, k.helo(&r)))
		cancel()
	}
	return out
}

func (k *Keeper) helo(r *Result) string {
	if n := r.Plan.Facts.Name; n != "" {
		return n
	}
	return "localhost"
}

// OnDisk says that leaf is host.cert, or the other certificate of a pair that
// sendmail.cf names beside it.
func OnDisk(r *Result, leaf *x509.Certificate) bool {
	if leaf == nil {
		return false
	}
	if plan.LeafID(leaf) == r.Plan.Facts.LeafID {
		return true
	}
	cf := r.Observed.CF
	if r.Observed.RunningCF != nil {
		cf = *r.Observed.RunningCF
	}
	for _, path := range cf.ServerCert[min(1, len(cf.ServerCert)):] {
		if cs := pki.ReadCertFile(durable.Read(path, 1<<20).Data).Certs; len(cs) > 0 && bytes.Equal(cs[0].Raw, leaf.Raw) {
			return true
		}
	}
	return false
}

func diskSerial(r *Result) string {
	if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
		return serial(cs[0])
	}
	return "none"
}

// nobodyListens says that every address refuses connections.
func (k *Keeper) nobodyListens(ctx context.Context, r *Result) bool {
	addrs := k.probeAddrs(r)
	if len(addrs) == 0 {
		return true
	}
	for _, addr := range addrs {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
			return false
		}
	}
	return true
}
