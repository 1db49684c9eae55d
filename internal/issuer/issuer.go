package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// Issuer signs certificates for this host.
type Issuer interface {
	// Ask sends a request and waits for the answer: the leaf and the CA certificates to trust, or those alone where no
	// leaf is requested. A Refusal is the issuer's own answer, or has a Kind that says what prevented one; any other
	// error says that the issuer could not be asked, or that its answer does not fit the request.
	Ask(ctx context.Context, r Request) (Reply, error)
}

// Refusal is the answer of an issuer that does not sign.
type Refusal struct {
	Reason string
	// Final says that the same request will be refused again; otherwise it may succeed later.
	Final bool
	// Kind is what the refusal is about, where the issuer says so; the pause before the next request depends on it.
	Kind Kind
	// NotBefore is when the issuer wants to be asked again at the earliest; zero: it did not say.
	NotBefore time.Time
}

// Kind is what a refusal is about.
type Kind string

// The kinds of a refusal. A CA host over ssh names none.
const (
	KindRateLimit Kind = "rate-limit"     // too many orders in too short a time
	KindChallenge Kind = "challenge"      // the CA did not find what proves that a name is ours
	KindAccount   Kind = "account"        // the account at the CA is deactivated, or is not accepted
	KindTOS       Kind = "tos"            // the CA's terms of service are not agreed to
	KindEAB       Kind = "eab"            // the external account binding is missing or wrong
	KindAway      Kind = "directory-away" // the CA cannot be reached, or gives answers that cannot be used
	KindClock     Kind = "clock"          // the clock of this host or of the CA is wrong
	KindStore     Kind = "store"          // a file of this host that an order needs is damaged, or cannot be written
	KindOrder     Kind = "order"          // everything else about the order
)

func (r Refusal) Error() string {
	if !r.Final {
		return "failed: " + r.Reason
	}
	reason := r.Reason
	for { // an older CA host begins its reason with this word
		rest, found := strings.CutPrefix(reason, "refused: ")
		if !found {
			return "refused: " + reason
		}
		reason = rest
	}
}

// Channel carries a message of this package to a CA host and returns the answer.
type Channel func(ctx context.Context, message []byte) ([]byte, error)

// Ask implements Issuer: it sends a request and reads the reply.
func (c Channel) Ask(ctx context.Context, r Request) (Reply, error) {
	data, err := c(ctx, r.Encode())
	if err != nil {
		return Reply{}, err
	}
	reply, err := ParseReply(data)
	if err != nil {
		return Reply{}, err
	}
	return reply, r.Answered(reply)
}

// Answered checks that a reply fits the request: its certificate is for the requested key, and its CA came with it. It
// returns a Refusal for a reply that refuses.
func (r Request) Answered(by Reply) error {
	switch by.Status {
	case Refused:
		return Refusal{Reason: by.Reason, Final: true}
	case Failed:
		return Refusal{Reason: by.Reason}
	}
	var key crypto.PublicKey
	if r.CSR != nil {
		csr, err := pki.ReadRequest(r.CSR)
		if err != nil {
			return err
		}
		key = csr.Public
	}
	switch {
	case (key != nil) != (by.Leaf != nil):
		return fmt.Errorf("%w: it answers another request (%s)", ErrMessage, by.Status)
	case by.Leaf == nil:
		return nil
	case !pki.SamePublicKey(key, by.Leaf.PublicKey):
		return fmt.Errorf("%w: its certificate is for another key", ErrMessage)
	case !slices.ContainsFunc(by.CAs, func(c *x509.Certificate) bool { return pki.IssuedBy(by.Leaf, c) }):
		return fmt.Errorf("%w: the CA that it contains did not issue its certificate", ErrMessage)
	}
	return nil
}
