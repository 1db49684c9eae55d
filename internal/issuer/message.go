// Package issuer obtains certificates from another host: the interface, the messages between a member and its CA host,
// and which CA certificates a member accepts. Each transport is a package below it.
package issuer

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// Limits of messages, in bytes and entries.
const (
	MaxRequest = 64 << 10
	MaxReply   = 1 << 20
	maxTrusts  = 64
	maxHolds   = 8
	MaxReason  = 1000
)

const (
	requestMark = "mailcertd-request 1"
	replyMark   = "mailcertd-reply 1"
)

// Request is what a member sends: lines of headers, an empty line, and a
// certificate request in PEM, or none to ask for the trust set alone.
type Request struct {
	// Renew is the serial that the member wants replaced; nil: none.
	Renew *big.Int
	// Holds are the serials of this CA's other certificates that the member still uses, such as those of its second and
	// its client pair. An older CA host ignores them.
	Holds []*big.Int
	// Trusts are the CA certificates that the member trusts now, as the hex SHA-256 of their DER.
	Trusts []string
	CSR    []byte // PEM, or nil
	// Replaces is the installed leaf that the new one will replace; nil means none. The request to an ACME CA names it
	// (RFC 9773 section 5), so that the CA never answers with it again. It is not a part of the message to a CA host.
	Replaces *x509.Certificate
	// Lost says that the last answer for this key and these names cannot be read any more. An ACME CA is then asked for
	// the same certificate, which costs no order. It is not a part of the message to a CA host.
	Lost bool
}

// ErrMessage says that a message does not have the format of this package.
var ErrMessage = errors.New("not a message of mailcertd")

// Encode returns the message.
func (r Request) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, requestMark)
	if r.Renew != nil {
		fmt.Fprintf(&b, "renew: %X\n", r.Renew)
	}
	for _, n := range r.Holds {
		fmt.Fprintf(&b, "holds: %X\n", n)
	}
	for _, t := range r.Trusts {
		fmt.Fprintf(&b, "trusts: %s\n", t)
	}
	fmt.Fprintln(&b)
	b.Write(r.CSR)
	return b.Bytes()
}

// ParseRequest reads a request. Text without the first line is a plain certificate request, as `mailcertd request`
// prints it.
func ParseRequest(data []byte) (Request, error) {
	if len(data) > MaxRequest {
		return Request{}, fmt.Errorf("%w: more than %d bytes", ErrMessage, MaxRequest)
	}
	head, body, err := split(data, requestMark)
	if err != nil {
		if bytes.Contains(data, []byte("-----BEGIN ")) && !bytes.HasPrefix(data, []byte("mailcertd-")) {
			return Request{CSR: data}, nil
		}
		return Request{}, err
	}
	var r Request
	for _, h := range head {
		switch h.key {
		case "renew":
			n, err := readSerial(h)
			if err != nil {
				return Request{}, err
			}
			r.Renew = n
		case "holds":
			n, err := readSerial(h)
			if err != nil {
				return Request{}, err
			}
			if len(r.Holds) >= maxHolds {
				return Request{}, fmt.Errorf("%w: holds: must be at most %d serial numbers", ErrMessage, maxHolds)
			}
			r.Holds = append(r.Holds, n)
		case "trusts":
			if b, err := hex.DecodeString(h.value); err != nil || len(b) != 32 || len(r.Trusts) >= maxTrusts {
				return Request{}, fmt.Errorf("%w: trusts: must be at most %d digests in hex", ErrMessage, maxTrusts)
			}
			r.Trusts = append(r.Trusts, strings.ToLower(h.value))
		}
	}
	if len(bytes.TrimSpace(body)) > 0 {
		r.CSR = body
	}
	return r, nil
}

func readSerial(h header) (*big.Int, error) {
	n, ok := new(big.Int).SetString(h.value, 16)
	if !ok || n.Sign() < 0 || len(h.value) > 40 {
		return nil, fmt.Errorf("%w: %s: must be a serial number in hex", ErrMessage, h.key)
	}
	return n, nil
}

// The statuses of a reply.
const (
	Signed  = "signed"  // a new certificate
	Again   = "again"   // the same certificate as before
	Trust   = "trust"   // no certificate was asked for
	Refused = "refused" // Reason says why; asking again will not help
	Failed  = "failed"  // Reason says why; it may work later
)

// Reply is the CA host's answer: headers, an empty line, and PEM.
type Reply struct {
	Status string
	Reason string
	Leaf   *x509.Certificate   // nil unless signed or again
	CAs    []*x509.Certificate // the trust set: self-signed certificates, the current one first
	Cross  []*x509.Certificate // generations, each signed by the one before it
	CRLs   [][]byte            // DER
}

// Encode returns the message.
func (r Reply) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nstatus: %s\n", replyMark, r.Status)
	if r.Reason != "" {
		fmt.Fprintf(&b, "reason: %s\n", text.OneLine(r.Reason, MaxReason))
	}
	var parts []*pem.Block
	for _, c := range append(append([]*x509.Certificate{r.Leaf}, r.CAs...), r.Cross...) {
		if c != nil {
			parts = append(parts, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		}
	}
	for _, crl := range r.CRLs {
		parts = append(parts, &pem.Block{Type: "X509 CRL", Bytes: crl})
	}
	fmt.Fprintf(&b, "parts: %d\n\n", len(parts)) // shows a reader that the reply was cut off between two parts
	for _, part := range parts {
		_ = pem.Encode(&b, part)
	}
	return b.Bytes()
}

// ParseReply reads a reply and checks its format. Accept and the plan decide which of its certificates are believed.
func ParseReply(data []byte) (Reply, error) {
	if len(data) > MaxReply {
		return Reply{}, fmt.Errorf("%w: more than %d bytes", ErrMessage, MaxReply)
	}
	head, body, err := split(data, replyMark)
	if err != nil {
		return Reply{}, err
	}
	var r Reply
	parts := ""
	for _, h := range head {
		switch h.key {
		case "parts":
			parts = h.value
		case "status":
			r.Status = h.value
		case "reason":
			r.Reason = text.OneLine(h.value, MaxReason)
		}
	}
	if !slices.Contains([]string{Signed, Again, Trust, Refused, Failed}, r.Status) {
		return Reply{}, fmt.Errorf("%w: status %q", ErrMessage, text.OneLine(r.Status, MaxReason))
	}
	n, err := r.parts(body)
	if err != nil {
		return Reply{}, err
	}
	if parts != strconv.Itoa(n) {
		return Reply{}, fmt.Errorf("%w: it is incomplete: it has %d parts, and announces %q", ErrMessage, n,
			text.OneLine(parts, MaxReason))
	}
	if (r.Status == Signed || r.Status == Again) != (r.Leaf != nil) {
		return Reply{}, fmt.Errorf("%w: status %s, and the number of host certificates does not match it",
			ErrMessage, r.Status)
	}
	if r.Status != Refused && r.Status != Failed && len(r.CAs) == 0 {
		return Reply{}, fmt.Errorf("%w: it has no CA certificate", ErrMessage)
	}
	return r, nil
}

// parts parses the PEM of a reply and counts its parts.
func (r *Reply) parts(body []byte) (n int, err error) {
	for ; ; n++ {
		b, rest := pem.Decode(body)
		if b == nil {
			break
		}
		body = rest
		switch b.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return n, fmt.Errorf("%w: a certificate in it: %w", ErrMessage, err)
			}
			switch {
			case pki.SelfSigned(c):
				r.CAs = append(r.CAs, c)
			case c.IsCA:
				r.Cross = append(r.Cross, c)
			case r.Leaf == nil:
				r.Leaf = c
			default:
				return n, fmt.Errorf("%w: it has two host certificates", ErrMessage)
			}
		case "X509 CRL":
			if _, err := x509.ParseRevocationList(b.Bytes); err != nil {
				return n, fmt.Errorf("%w: a CRL in it: %w", ErrMessage, err)
			}
			r.CRLs = append(r.CRLs, b.Bytes)
		default:
			return n, fmt.Errorf("%w: it has a block %q", ErrMessage, text.OneLine(b.Type, MaxReason))
		}
	}
	if len(bytes.TrimSpace(body)) > 0 {
		return n, fmt.Errorf("%w: it is incomplete", ErrMessage)
	}
	return n, nil
}

type header struct{ key, value string }

// split returns the headers and the rest; mark must be the first line.
func split(data []byte, mark string) ([]header, []byte, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	if strings.TrimRight(string(line), "\r") != mark {
		return nil, nil, fmt.Errorf("%w: it does not start with %q", ErrMessage, mark)
	}
	var out []header
	for len(out) < 2*maxTrusts {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		text := strings.TrimRight(string(line), "\r")
		if !found {
			return nil, nil, fmt.Errorf("%w: it is incomplete", ErrMessage)
		}
		rest = after
		if text == "" {
			return out, rest, nil
		}
		k, v, ok := strings.Cut(text, ":")
		if !ok {
			return nil, nil, fmt.Errorf("%w: a header without a colon", ErrMessage)
		}
		out = append(out, header{strings.TrimSpace(k), strings.TrimSpace(v)})
	}
	return nil, nil, fmt.Errorf("%w: too many headers", ErrMessage)
}

// Accept returns the CA certificates of a reply that a member accepts: those it trusts already, also with other dates
// over the same key, and those that a trusted one has signed (Cross, with the same subject and key), also across
// generations that are no longer offered. A member that trusts none accepts all: it is the first contact, over a
// connection whose host key is known. The others are refused, and a person must decide.
func Accept(trusted []*x509.Certificate, r Reply) (accepted, refused []*x509.Certificate) {
	if len(trusted) == 0 {
		return slices.Clone(r.CAs), nil
	}
	vouching := slices.Clone(trusted) // and the cross certificates that one of these signed
	for again := true; again; {
		again = false
		for _, x := range r.Cross {
			if x.IsCA && !slices.ContainsFunc(vouching, x.Equal) &&
				slices.ContainsFunc(vouching, func(v *x509.Certificate) bool {
					return x.CheckSignatureFrom(v) == nil
				}) {
				vouching = append(vouching, x)
				again = true
			}
		}
	}
	in := func(c *x509.Certificate) bool {
		like := func(x *x509.Certificate) bool {
			return bytes.Equal(x.RawSubject, c.RawSubject) &&
				bytes.Equal(x.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
		}
		return slices.ContainsFunc(trusted, c.Equal) || slices.ContainsFunc(vouching[len(trusted):], like) ||
			pki.SelfSigned(c) && slices.ContainsFunc(trusted, like) // the same key with other dates
	}
	for _, c := range r.CAs {
		if in(c) {
			accepted = append(accepted, c)
		} else {
			refused = append(refused, c)
		}
	}
	return accepted, refused
}
