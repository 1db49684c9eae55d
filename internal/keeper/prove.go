package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// What a proof that did not succeed came to.
var (
	errServesAnother = errors.New("sendmail does not serve the certificate on disk") // it answered, with another leaf
	errNotOffered    = errors.New("STARTTLS is not offered")
	errUnseen        = errors.New("what sendmail serves cannot be seen from here") // no verdict
	errRefused       = errors.New("nobody listens")
	// errWaiting says that it is not over: the debt stands, and the next look goes on.
	errWaiting = errors.New("sendmail has been told; what it serves has not been seen yet")
)

// featureHint is what hides STARTTLS from a client by its address.
const featureHint = "if others are offered it, an entry such as Srv_Features:127.0.0.1 with S in sendmail's access map hides it from this host"

// mostOwn bounds how many addresses of the host's own are asked.
const mostOwn = 4

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

// otherAddrs are the host's own addresses that stand in for a loopback address
// which hides what is served.
func otherAddrs(addr string) []string {
	host, port, err := net.SplitHostPort(addr)
	loop := net.ParseIP(host)
	if err != nil || loop == nil || !loop.IsLoopback() {
		return nil
	}
	var out []string
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || !n.IP.IsGlobalUnicast() || (n.IP.To4() == nil) != (loop.To4() == nil) || len(out) == mostOwn {
			continue
		}
		out = append(out, net.JoinHostPort(n.IP.String(), port))
	}
	return out
}

// asker is what asking needs of the Keeper: it may go on beside it.
type asker struct {
	addrs []string
	helo  string
	auto  bool // nobody named an address: others of the host will do
}

func (k *Keeper) asker(r *Result) asker {
	helo := r.Plan.Facts.Name
	if helo == "" {
		helo = "localhost"
	}
	p := k.cfg.Sendmail.Probe
	return asker{k.probeAddrs(r), helo, p == "auto" || p == ""}
}

// see asks at an address and, where that shows no certificate although somebody
// is there, at the host's own other addresses. The first true reason is kept.
func (a asker) see(ctx context.Context, addr string) mta.Served {
	first := mta.Probe(ctx, addr, a.helo)
	if first.Leaf != nil || first.Refused || ctx.Err() != nil || !a.auto {
		return first
	}
	for _, other := range otherAddrs(addr) {
		pctx, cancel := context.WithTimeout(ctx, mta.Patience)
		s := mta.Probe(pctx, other, a.helo)
		cancel()
		if s.Leaf != nil {
			return s
		}
	}
	return first
}

// proof is one look at what sendmail serves, which may take minutes. It shares
// nothing with the Keeper that changes.
type proof struct {
	of   string // which instance and which set
	done chan struct{}
	p    *Pickup
	err  error
	stop context.CancelFunc
}

// prove asks sendmail for its certificate and compares it with the disk. It
// waits for the answer as long as k.budget says; then errWaiting comes, the
// question stays out, and a later call for the same gets its answer.
func (k *Keeper) prove(ctx context.Context, r *Result, id mta.Identity) (*Pickup, error) {
	of := plan.InstanceID(plan.Instance(id)) + " " + plan.SetID(r.Observed.Certs)
	if k.proof != nil && k.proof.of != of {
		k.proof.stop()
		k.proof = nil
	}
	if k.proof == nil {
		snapshot := *r
		pctx, stop := context.WithCancel(ctx)
		q := &proof{of: of, done: make(chan struct{}), stop: stop}
		k.proof = q
		a := k.asker(r)
		go func() {
			q.p, q.err = a.prove(pctx, &snapshot)
			close(q.done)
			select {
			case k.wake <- struct{}{}:
			default:
			}
		}()
	}
	late := time.NewTimer(k.budget)
	defer late.Stop()
	select {
	case <-k.proof.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, errWaiting
	}
	q := k.proof
	q.stop()
	k.proof = nil
	return q.p, q.err
}

// prove is the proof itself. The first address that shows a certificate decides:
// all are served by one daemon.
func (a asker) prove(ctx context.Context, r *Result) (*Pickup, error) {
	if len(a.addrs) == 0 {
		return &Pickup{Result: plan.Unproven, Detail: "sendmail.probe is none: its new instance was seen, its certificate was not"}, nil
	}
	var hidden, unseen, refused error
	for _, addr := range a.addrs {
		pctx, cancel := context.WithTimeout(ctx, mta.Patience)
		s := a.see(pctx, addr)
		cancel()
		switch {
		case s.Leaf != nil && s.Err == nil && OnDisk(r, s.Leaf):
			return &Pickup{Result: plan.Proven, Serial: serial(s.Leaf), Addr: s.Addr}, nil
		case s.Leaf != nil && s.Err == nil:
			return nil, fmt.Errorf("%s: %w: it serves serial %s, on disk is %s", s.Addr, errServesAnother, serial(s.Leaf), diskSerial(r))
		case s.Refused:
			refused = errors.Join(refused, s.Err)
		case s.Unseen():
			unseen = errors.Join(unseen, s.Err)
		default:
			hidden = errors.Join(hidden, fmt.Errorf("%s: %w; %s", addr, errNotOffered, featureHint))
		}
	}
	switch {
	case hidden != nil:
		return nil, hidden
	case unseen != nil:
		return nil, fmt.Errorf("%w: %w", errUnseen, unseen)
	}
	return nil, fmt.Errorf("%w: %w", errRefused, refused)
}

// Serves looks at what sendmail serves, for a person who asked.
func (k *Keeper) Serves(ctx context.Context, r Result) []mta.Served {
	var out []mta.Served
	a := k.asker(&r)
	defer k.working("asking sendmail what it serves; it may take minutes to greet", time.Duration(max(1, len(a.addrs)))*mta.Patience)()
	for _, addr := range a.addrs {
		pctx, cancel := context.WithTimeout(ctx, mta.Patience)
		out = append(out, a.see(pctx, addr))
		cancel()
	}
	return out
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
	return slices.ContainsFunc(cf.ServerCert[min(1, len(cf.ServerCert)):], func(path string) bool {
		cs := pki.ReadCertFile(durable.Read(path, 1<<20).Data).Certs
		return len(cs) > 0 && bytes.Equal(cs[0].Raw, leaf.Raw)
	})
}

func diskSerial(r *Result) string {
	if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
		return serial(cs[0])
	}
	return "none"
}

// nobodyListens says that every address refuses connections. A silent one, one
// that cannot be reached, and an error of our own say nothing about that.
func (k *Keeper) nobodyListens(ctx context.Context, r *Result) bool {
	for _, addr := range k.probeAddrs(r) {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return false
		}
	}
	return true
}
