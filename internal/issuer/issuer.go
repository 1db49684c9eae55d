package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/pki"
)

// Issuer is somebody else who is asked for a certificate.
type Issuer interface {
	// Ask puts a request and waits for the answer: the leaf that it asks for and the CA certificates to be trusted, or
	// those alone where it asks for no leaf. A Refusal is the issuer's own no; any other error says that it could not
	// be asked, or that its answer does not fit the request.
	Ask(ctx context.Context, r Request) (Reply, error)
}

// Refusal is an issuer's no.
type Refusal struct {
	Reason string
	// Final says that asking again will not help. Else it may work later.
	Final bool
}

func (r Refusal) Error() string {
	if !r.Final {
		return "failed: " + r.Reason
	}
	reason := r.Reason
	for { // an older CA host says the word itself
		rest, found := strings.CutPrefix(reason, "refused: ")
		if !found {
			return "refused: " + reason
		}
		reason = rest
	}
}

// Channel carries the messages of this package to a CA host and back.
type Channel func(ctx context.Context, message []byte) ([]byte, error)

// Ask sends a request and reads the reply, as Issuer has it.
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

// Answered checks that a reply answers the request: a certificate is for the key that asked, and of a CA that came with
// it. A reply that refuses is a Refusal.
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
		return fmt.Errorf("%w: it answers another question (%s)", ErrMessage, by.Status)
	case by.Leaf == nil:
		return nil
	case !pki.SamePublicKey(key, by.Leaf.PublicKey):
		return fmt.Errorf("%w: its certificate is for another key", ErrMessage)
	case !slices.ContainsFunc(by.CAs, func(c *x509.Certificate) bool { return pki.IssuedBy(by.Leaf, c) }):
		return fmt.Errorf("%w: its certificate is not of the CA that came with it", ErrMessage)
	}
	return nil
}
