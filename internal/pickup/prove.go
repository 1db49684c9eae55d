package pickup

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

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Why a proof did not succeed.
var (
	errServesAnother = errors.New("sendmail does not serve the certificate on disk") // it answered with another leaf
	errNotOffered    = errors.New("STARTTLS is not offered")
	errUnseen        = errors.New("mailcertd cannot see which certificate sendmail serves") // no verdict
	errRefused       = errors.New("nobody listens")
	// errHeld says that no HUP was sent, because sendmail would lose STARTTLS with the files on disk. It does not count
	// as an attempt.
	errHeld = errors.New("no HUP was sent, because sendmail would refuse the files on the disk")
	// errWaiting says that the proof is not complete: the pickup stays pending, and the next look continues it.
	errWaiting = errors.New("sendmail was not yet seen to serve the new certificate")
)

// unseenError is errUnseen with its cause.
type unseenError struct{ error }

func (e unseenError) Error() string   { return errUnseen.Error() + ": " + e.error.Error() }
func (e unseenError) Unwrap() []error { return []error{errUnseen, e.error} }

// mostOwn is how many of the host's own addresses are asked at most.
const mostOwn = 4

// endpoints are the addresses at which the running sendmail is asked; nil with `probe: none`, and where no listener can
// be asked for a certificate.
func (t *Teller) endpoints(r *View) []mta.Endpoint {
	switch p := t.s.Probe; p {
	case "none":
		return nil
	case "auto", "":
		return r.Observed.UsedCF().Endpoints()
	default:
		_, port, err := net.SplitHostPort(p)
		if err != nil {
			p = net.JoinHostPort(strings.Trim(p, "[]"), "25")
		}
		return []mta.Endpoint{{Addr: p, TLS: port == "465"}}
	}
}

// otherAddrs are the host's own addresses, asked where the loopback address does not show the certificate.
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
		if !ok || n.IP.IsLoopback() || !n.IP.IsGlobalUnicast() || (n.IP.To4() == nil) != (loop.To4() == nil) ||
			len(out) == mostOwn {
			continue
		}
		out = append(out, net.JoinHostPort(n.IP.String(), port))
	}
	return out
}

// asker holds what a question needs from the Teller, so that it can run beside it.
type asker struct {
	at   []mta.Endpoint
	helo string
	auto bool // no address is configured, so the host's other addresses may be asked
	// families are the key families to ask for, one question each; "" asks for any, where sendmail has one pair.
	families []string
}

func (t *Teller) asker(r *View) asker {
	helo := r.Plan.Facts.Name
	if helo == "" {
		helo = "localhost"
	}
	p := t.s.Probe
	return asker{t.endpoints(r), helo, p == "auto" || p == "", families(r)}
}

// families are those of the server pairs that sendmail.cf names, the first pair's first. A second pair that sendmail
// leaves out, or that cannot be judged, is not asked for.
func families(r *View) []string {
	files := plan.Files(r.Observed.UsedCF(), r.Observed.Certs, r.Observed.Accept)
	if files.Second == nil {
		return []string{""}
	}
	for _, c := range r.Plan.Facts.Verdict.Complaints {
		if c.Of == mta.SecondServer {
			return []string{""}
		}
	}
	var out []string
	for _, f := range []pki.CertFile{files.Cert.File, files.Second.Cert.File} {
		if len(f.Certs) == 0 || f.Certs[0].PublicKey == nil {
			return []string{""}
		}
		out = append(out, pki.TypeOf(f.Certs[0].PublicKey).Family())
	}
	if !slices.Contains(out, "rsa") || !slices.Contains(out, "ecdsa") { // a client can ask for these two families only
		return []string{""}
	}
	return out
}

// see asks at an endpoint and, where a program listens and shows no certificate, at the host's other addresses. If
// none of those shows one either, it returns the first answer.
func (a asker) see(ctx context.Context, at mta.Endpoint, family string) mta.Served {
	first := mta.Probe(ctx, at, a.helo, family)
	if first.Leaf != nil || first.Refused || first.Lacks || ctx.Err() != nil || !a.auto {
		return first
	}
	for _, other := range otherAddrs(at.Addr) {
		pctx, cancel := context.WithTimeout(ctx, mta.Patience)
		s := mta.Probe(pctx, mta.Endpoint{Addr: other, TLS: at.TLS}, a.helo, family)
		cancel()
		if s.Leaf != nil || s.Lacks {
			return s
		}
	}
	return first
}

// proof is one look at what sendmail serves, which may take minutes. It shares no data with the Teller that changes.
type proof struct {
	of   string // instance and set that it is about
	done chan struct{}
	p    *Outcome
	err  error
	stop context.CancelFunc
}

// prove asks sendmail for its certificate and compares it with the disk. It waits for t.budget and then returns
// errWaiting; the question continues, and a later call for the same instance and set gets its answer.
func (t *Teller) prove(ctx context.Context, r *View, id mta.Identity) (*Outcome, error) {
	of := plan.InstanceID(plan.Instance(id)) + " " + plan.SetID(r.Observed.Certs)
	if t.proof != nil && t.proof.of != of {
		t.proof.stop()
		t.proof = nil
	}
	if t.proof == nil {
		snapshot := *r
		pctx, stop := context.WithCancel(ctx)
		q := &proof{of: of, done: make(chan struct{}), stop: stop}
		t.proof = q
		a := t.asker(r)
		go func() {
			q.p, q.err = a.prove(pctx, &snapshot)
			close(q.done)
			select {
			case t.o.Wake <- struct{}{}:
			default:
			}
		}()
	}
	late := time.NewTimer(t.budget)
	defer late.Stop()
	select {
	case <-t.proof.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, errWaiting
	}
	q := t.proof
	q.stop()
	t.proof = nil
	return q.p, q.err
}

// prove asks until an address shows a certificate. The first one decides, because one daemon serves them all.
func (a asker) prove(ctx context.Context, r *View) (*Outcome, error) {
	if len(a.at) == 0 {
		why := "sendmail.probe is none"
		if a.auto {
			why = "sendmail.cf has no listener that can be asked for a certificate"
		}
		return &Outcome{Result: plan.Unproven, Detail: why + ": a new sendmail process was seen, but not its " +
				"certificate"},
			nil
	}
	var hidden, unseen, refused error
	for _, at := range a.at {
		var seen []*x509.Certificate
		addr := ""
		for _, family := range a.families {
			pctx, cancel := context.WithTimeout(ctx, mta.Patience)
			s := a.see(pctx, at, family)
			cancel()
			on, unread := OnDisk(r, s.Leaf)
			switch {
			case s.Leaf != nil && s.Err == nil && on:
				seen, addr = append(seen, s.Leaf), s.Addr
				continue
			case s.Leaf != nil && s.Err == nil && unread != nil:
				unseen = errors.Join(unseen,
					fmt.Errorf("mailcertd cannot find out whether it serves the certificate on disk: %w", unread))
			case s.Leaf != nil && s.Err == nil:
				return nil, fmt.Errorf("%s: %w: it serves serial %s, but on disk is serial %s", s.Addr,
					errServesAnother, serial(s.Leaf), diskSerial(r, family))
			case s.Lacks:
				return nil, fmt.Errorf("%s: %w: it serves no %s certificate, but on disk is serial %s", s.Addr,
					errServesAnother, strings.ToUpper(family), diskSerial(r, family))
			case s.Refused:
				refused = errors.Join(refused, s.Err)
			case s.Unseen():
				unseen = errors.Join(unseen, s.Err)
			default:
				hidden = errors.Join(hidden, fmt.Errorf("%s: %w; %s", at.Addr, errNotOffered,
					plan.NotOfferedAnew(r.Plan.Facts)))
			}
			break
		}
		if len(seen) == len(a.families) {
			done := &Outcome{Result: plan.Proven, Serial: serial(seen[0]), Addr: addr}
			for _, leaf := range seen[1:] {
				done.Detail = fmt.Sprintf("it serves the second pair too, serial %s", serial(leaf))
			}
			return done, nil
		}
	}
	switch {
	case hidden != nil:
		return nil, hidden
	case unseen != nil:
		return nil, unseenError{unseen}
	case refused == nil:
		return nil, errRefused
	}
	return nil, fmt.Errorf("%w: %w", errRefused, refused)
}

// Serves returns what sendmail serves, for a person who asked.
func (t *Teller) Serves(ctx context.Context, r View) []mta.Served {
	var out []mta.Served
	a := t.asker(&r)
	defer t.o.Working("asking sendmail which certificate it serves; its greeting may take minutes",
		time.Duration(max(1, len(a.at)))*mta.Patience)()
	for _, at := range a.at {
		for _, family := range a.families {
			pctx, cancel := context.WithTimeout(ctx, mta.Patience)
			out = append(out, a.see(pctx, at, family))
			cancel()
			if last := out[len(out)-1]; last.Leaf == nil && !last.Lacks { // it would not answer either
				break
			}
		}
	}
	return out
}

// OnDisk reports whether leaf is host.cert, or the certificate of a second pair that sendmail.cf names. err: a file
// could not be read, so the answer is unknown.
func OnDisk(r *View, leaf *x509.Certificate) (on bool, err error) {
	if leaf == nil {
		return false, nil
	}
	if pki.Fingerprint(leaf) == r.Plan.Facts.LeafID {
		return true, nil
	}
	if n := r.Observed.Certs.Cert.Node; n.Unread() {
		err = n.Err
	}
	cf := r.Observed.UsedCF()
	for _, path := range cf.ServerCert[min(1, len(cf.ServerCert)):] {
		n := durable.Read(path, 1<<20)
		if n.Unread() {
			err = errors.Join(err, n.Err)
		}
		if cs := pki.ReadCertFile(n.Data).Certs; len(cs) > 0 && bytes.Equal(cs[0].Raw, leaf.Raw) {
			return true, nil
		}
	}
	return false, err
}

func serial(c *x509.Certificate) string { return ca.FormatSerial(c.SerialNumber) }

// diskSerial is the serial of the server certificate on disk with a key of this family; "" asks for the host's own.
func diskSerial(r *View, family string) string {
	f := plan.Files(r.Observed.UsedCF(), r.Observed.Certs, r.Observed.Accept)
	pairs := []pki.CertFile{f.Cert.File}
	if family != "" && f.Second != nil {
		pairs = append(pairs, f.Second.Cert.File)
	}
	for _, p := range pairs {
		if len(p.Certs) > 0 && (family == "" || pki.TypeOf(p.Certs[0].PublicKey).Family() == family) {
			return serial(p.Certs[0])
		}
	}
	return "none"
}

// nobodyListens reports whether every address refuses connections. A silent or unreachable address, and an error of our
// own, do not show that.
func (t *Teller) nobodyListens(ctx context.Context, r *View) bool {
	for _, at := range t.endpoints(r) {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(ctx, "tcp", at.Addr)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return false
		}
	}
	return true
}
