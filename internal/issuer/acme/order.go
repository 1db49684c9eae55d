package acme

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// want is what a request needs from an ACME CA.
type want struct {
	csr      *x509.CertificateRequest
	names    []string // sorted, with addresses among them
	ids      []acme.Identifier
	keyID    string
	replaces *x509.Certificate
	lost     bool // see issuer.Request.Lost
}

// wanted parses a request.
func wanted(r issuer.Request) (want, error) {
	block, _ := pem.Decode(r.CSR)
	if block == nil {
		return want{}, errors.New("an ACME CA is asked for certificates alone, and the request is for none")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return want{}, fmt.Errorf("the certificate request: %w", err)
	}
	w := want{csr: csr, replaces: r.Replaces, lost: r.Lost}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	w.keyID = hex.EncodeToString(sum[:])
	dns := slices.Clone(csr.DNSNames)
	if cn := csr.Subject.CommonName; cn != "" && len(csr.IPAddresses)+len(dns) == 0 {
		dns = append(dns, cn)
	}
	for _, n := range dns {
		w.ids = append(w.ids, acme.Identifier{Type: "dns", Value: pki.CanonicalName(n)})
	}
	for _, ip := range csr.IPAddresses {
		w.ids = append(w.ids, acme.Identifier{Type: "ip", Value: ip.String()})
	}
	for _, id := range w.ids {
		w.names = append(w.names, id.Value)
	}
	slices.Sort(w.names)
	w.names = slices.Compact(w.names)
	if len(w.names) == 0 {
		return want{}, errors.New("the certificate request has no names")
	}
	return w, nil
}

// ordering is a session that gets the certificate of one request.
type ordering struct {
	*session
	want want
}

// obtain takes an order up to its certificate.
func (s ordering) obtain(ctx context.Context) (issuer.Reply, error) {
	open, has, err := s.noted(s.want)
	if err != nil {
		return issuer.Reply{}, err
	}
	unsure := false
	if has && (!open.Taken || s.want.lost) {
		order, is, err := s.continued(ctx, open)
		if err != nil {
			return issuer.Reply{}, err
		}
		switch {
		case is == atCA:
			reply, again, err := s.follow(ctx, order)
			if err != nil || !again {
				return reply, err
			}
			// This is an old certificate, so a new order is needed.
		case open.URL == "" && is == notAtCA:
			// In this order, so that a kill between them leaves one order too many in the count, and not one too few.
			if err := s.forget(s.want); err != nil {
				return issuer.Reply{}, err
			}
			if err := s.unplaced(); err != nil {
				return issuer.Reply{}, err
			}
		case open.URL == "":
			unsure = true
		}
	}
	order, err := s.place(ctx, unsure)
	if err != nil {
		return issuer.Reply{}, err
	}
	reply, again, err := s.follow(ctx, order)
	switch {
	case err != nil || !again:
		return reply, err
	case s.wire.last.status == 404:
		return issuer.Reply{}, issuer.Refusal{Kind: issuer.KindAway,
			Reason: "the CA says that it has issued the certificate, but does not send it yet"}
	}
	return issuer.Reply{}, issuer.Refusal{Kind: issuer.KindClock,
		Reason: "the CA has sent a certificate that is old already by the clock of this host"}
}

// fate is what has become of an order that was noted.
type fate int

const (
	unclear fate = iota // the CA does not say whether it has placed the order
	atCA                // the CA has the order
	notAtCA             // the CA has no such order, or has ended it
)

// continued returns the order that was noted. If the note has no URL yet, it looks for the order in the CA's list.
func (s ordering) continued(ctx context.Context, open openOrder) (order acme.Order, is fate, err error) {
	if open.URL == "" {
		return s.listed(ctx, open)
	}
	order, err = s.order(ctx, open.URL)
	switch {
	case isProblem(err, acme.ProblemTypeAccountDoesNotExist), isProblem(err, acme.ProblemTypeUnauthorized):
		// The account is another one, or the CA does not accept it any more; unknown finds out which.
		return acme.Order{}, notAtCA, s.unknown(ctx)
	case s.wire.last.status == 404, isProblem(err, acme.ProblemTypeMalformed):
		return acme.Order{}, notAtCA, nil
	case err != nil:
		return acme.Order{}, unclear, s.refuse(ctx, "the open order", err)
	}
	expired := !order.Expires.IsZero() && !s.o.Now().Before(order.Expires)
	if order.Status == acme.StatusInvalid && expired || !sameNames(order, s.want) {
		return acme.Order{}, notAtCA, nil
	}
	s.o.Progress("continuing the open order")
	return order, atCA, nil
}

func sameNames(o acme.Order, w want) bool {
	var names []string
	for _, id := range o.Identifiers {
		names = append(names, strings.ToLower(id.Value))
	}
	slices.Sort(names)
	return slices.Equal(slices.Compact(names), w.names)
}

// The limits of the search in a list of orders.
const (
	maxPages  = 20
	maxListed = 20
)

// listed looks for an order that was placed and whose URL was lost, in the list of RFC 8555 section 7.1.2.1. A CA
// without the list, such as Let's Encrypt, returns a pending order for the same names again when it is asked for a new
// one. An order that a complete list does not have was not placed.
func (s ordering) listed(ctx context.Context, open openOrder) (acme.Order, fate, error) {
	var urls []string
	seen, complete := map[string]bool{}, false
	for page := s.saved.Orders; page != "" && !seen[page] && len(seen) < maxPages; {
		seen[page] = true
		// The answer is read from wire.last, because GetOrder parses it as an order.
		_, err := s.client.GetOrder(ctx, s.account, acme.Order{Location: page})
		var list struct {
			Orders []string `json:"orders"`
		}
		if err == nil {
			err = json.Unmarshal(s.wire.last.body, &list)
		}
		if isProblem(err) && s.wire.last.status < 500 {
			complete = false
			break // the CA has no list
		}
		if err != nil {
			return acme.Order{}, unclear, s.refuse(ctx, "the list of orders", err)
		}
		urls, page, complete = append(urls, list.Orders...), "", true
		if next := links(s.wire.last.header, "next"); len(next) > 0 {
			page, complete = next[0], false
		}
	}
	all, err := s.orders()
	if err != nil {
		return acme.Order{}, unclear, err
	}
	urls = slices.DeleteFunc(urls, func(u string) bool {
		return slices.ContainsFunc(all, func(o openOrder) bool { return o.URL == u }) // this order is for another key
	})
	slices.Reverse(urls)
	for _, u := range urls[:min(len(urls), maxListed)] {
		order, err := s.order(ctx, u)
		if isProblem(err) && s.wire.last.status < 500 {
			continue
		}
		if err != nil {
			return acme.Order{}, unclear, s.refuse(ctx, "an order of the list", err)
		}
		if sameNames(order, s.want) && (order.Status == acme.StatusPending || order.Status == acme.StatusReady) &&
			(order.Expires.IsZero() || s.o.Now().Before(order.Expires)) {
			open.URL, open.Expires = u, order.Expires
			s.o.Progress("continuing the order that the CA has listed")
			return order, atCA, s.note(s.want, open)
		}
		if sameNames(order, s.want) && order.Status != acme.StatusValid {
			complete = false // it may be the one that is looked for, and may have ended since
		}
	}
	if complete && len(urls) <= maxListed {
		return acme.Order{}, notAtCA, nil
	}
	return acme.Order{}, unclear, nil
}

// order reads an order from its URL.
func (s *session) order(ctx context.Context, u string) (acme.Order, error) {
	return s.client.GetOrder(ctx, s.account, acme.Order{Location: u})
}

// follow does what an order needs next, until it has its certificate. again says that this is an old certificate, which
// is not what was asked for.
func (s ordering) follow(ctx context.Context, order acme.Order) (r issuer.Reply, again bool, err error) {
	pause := pauses{}
	finalized := 0
	const maxFinalized = 3
	for {
		switch order.Status {
		case acme.StatusPending:
			if err := s.authorize(ctx, order); err != nil {
				return r, false, s.failed(err)
			}
		case acme.StatusReady:
			if finalized++; finalized > maxFinalized {
				return r, false, issuer.Refusal{Kind: issuer.KindOrder,
					Reason: "the CA says that the order is ready, but does not accept the certificate request"}
			}
			s.o.Progress("sending the certificate request")
			next, err := s.client.FinalizeOrder(ctx, s.account, order, s.want.csr.Raw)
			if err != nil && next.Status == acme.StatusReady && !isProblem(err, acme.ProblemTypeOrderNotReady) {
				return r, false, s.failed(s.refuse(ctx, "the certificate request", err))
			}
			next.Location = order.Location
			if order = next; order.Status == acme.StatusValid || order.Status == acme.StatusInvalid {
				continue
			}
		case acme.StatusProcessing:
		case acme.StatusValid:
			return s.download(ctx, order)
		case acme.StatusInvalid:
			return r, false, s.failed(s.invalid(ctx, order))
		default:
			return r, false, s.refuse(ctx, "the order", badAnswer{fmt.Sprintf("its status is %.60q", order.Status)})
		}
		if order.Status != acme.StatusPending {
			if err := pause.wait(ctx, s.wire); err != nil {
				return r, false, err
			}
		}
		was := order.Location
		if order, err = s.order(ctx, was); err != nil {
			return r, false, s.refuse(ctx, "the order", err)
		}
		order.Location = was
		if order.Status == acme.StatusPending {
			if err := pause.wait(ctx, s.wire); err != nil {
				return r, false, err
			}
		}
	}
}

// ended is an error after which the CA does nothing more for an order.
type ended struct{ issuer.Refusal }

// failed forgets an order that the CA has ended. The note of an open order stays.
func (s ordering) failed(err error) error {
	var e ended
	if errors.As(err, &e) {
		return s.forgetting(e.Refusal)
	}
	return err
}

// forgetting forgets an order and returns err, joined with any error of forgetting it.
func (s ordering) forgetting(err error) error {
	if f := s.forget(s.want); f != nil {
		return errors.Join(err, f)
	}
	return err
}

// refusedOrder is forgetting for an order that the CA did not place.
func (s ordering) refusedOrder(err error) error {
	if u := s.uncount(); u != nil {
		err = errors.Join(err, u)
	}
	return s.forgetting(err)
}

// invalid says why an order failed.
func (s *session) invalid(ctx context.Context, order acme.Order) error {
	var failures []string
	kind := issuer.KindOrder
	for _, u := range order.Authorizations[:min(len(order.Authorizations), maxAuthorizations)] {
		a, err := s.client.GetAuthorization(ctx, s.account, u)
		if err != nil {
			continue
		}
		if f := failure(a); f != nil {
			failures, kind = append(failures, f.Reason), f.Kind
		}
	}
	if order.Error != nil {
		failures = append(failures, "the order: the CA says: "+said(*order.Error))
	}
	if len(failures) == 0 {
		failures = []string{"the CA has ended the order, but does not say why"}
	}
	return ended{issuer.Refusal{Kind: kind, Reason: text.OneLine(strings.Join(failures, "; "), issuer.MaxReason)}}
}
