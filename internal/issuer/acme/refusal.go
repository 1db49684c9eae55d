package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mailcertd/internal/issuer"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// kinds says what a problem document is about (RFC 8555 section 6.7), and whether it is final, so that asking again in
// the same way does not help.
var kinds = map[string]struct {
	kind  issuer.Kind
	final bool
}{
	"rateLimited":             {issuer.KindRateLimit, false},
	"accountDoesNotExist":     {issuer.KindAccount, false},
	"externalAccountRequired": {issuer.KindEAB, true},
	"userActionRequired":      {issuer.KindTOS, true},
	"invalidContact":          {issuer.KindAccount, true},
	"unsupportedContact":      {issuer.KindAccount, true},
	"badSignatureAlgorithm":   {issuer.KindAccount, true},
	"badPublicKey":            {issuer.KindOrder, true},
	"badCSR":                  {issuer.KindOrder, true},
	"rejectedIdentifier":      {issuer.KindOrder, true},
	"unsupportedIdentifier":   {issuer.KindOrder, true},
	"invalidProfile":          {issuer.KindOrder, true},
	"caa":                     {issuer.KindChallenge, false},
	"connection":              {issuer.KindChallenge, false},
	"dns":                     {issuer.KindChallenge, false},
	"incorrectResponse":       {issuer.KindChallenge, false},
	"tls":                     {issuer.KindChallenge, false},
	"serverInternal":          {issuer.KindAway, false},
	"badNonce":                {issuer.KindAway, false},
}

// refuse returns an error that says what happened: a Refusal, or the end of ctx. about names what was asked for.
func (s *session) refuse(ctx context.Context, about string, err error) error {
	var refusal issuer.Refusal
	var problem acme.Problem
	var lost *lostOrder
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &lost) && lost.problem != nil:
		problem = *lost.problem
	case !errors.As(err, &problem):
		return s.away(about, err)
	}
	r := issuer.Refusal{Kind: issuer.KindOrder, Reason: about + ": the CA says: " + said(problem)}
	name := strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace)
	if k, known := kinds[name]; known {
		r.Kind, r.Final = k.kind, k.final
	} else if problem.Status == http.StatusTooManyRequests {
		r.Kind = issuer.KindRateLimit
	} else if problem.Status >= 500 {
		r.Kind = issuer.KindAway
	}
	if at, has := s.wire.retryAfter(); has && (r.Kind == issuer.KindRateLimit || r.Kind == issuer.KindAway) {
		r.NotBefore = at
	}
	r.Reason = text.OneLine(r.Reason, issuer.MaxReason)
	return r
}

// away returns the refusal for an error on the way to the CA, or for an answer that is not one of ACME.
func (s *session) away(about string, err error) error {
	r := issuer.Refusal{Kind: issuer.KindAway}
	why, hint := err.Error(), ""
	var bad badAnswer
	var wrap *url.Error
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &bad):
		why = bad.why
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		r.Kind = issuer.KindClock
		why = invalid.Error()
		hint = "; this host's clock is wrong, or the certificate of the CA's https server has expired"
	case errors.As(err, &unknown):
		why, hint = unknown.Error(), "; if the CA has its own root, name the file with it in issuer.acme.ca_file"
		if s.roots != nil {
			hint = "; the file that issuer.acme.ca_file names does not have the root: get it from the CA"
		}
	case errors.As(err, &wrap):
		why = wrap.Err.Error()
	}
	if at, has := s.wire.retryAfter(); has && s.wire.last.status >= 400 {
		r.NotBefore = at
	}
	r.Reason = text.OneLine(fmt.Sprintf("%s: %s%s", about, text.OneLine(why, issuer.MaxReason/2), hint),
		issuer.MaxReason)
	return r
}

// said returns the text of a problem document, with what it says about single names.
func said(p acme.Problem) string {
	var b strings.Builder
	b.WriteString(text.OneLine(p.Detail, 500))
	if kind := strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace); kind != "" {
		fmt.Fprintf(&b, " (%s)", text.OneLine(kind, 60))
	} else if p.Status != 0 {
		fmt.Fprintf(&b, " (HTTP status %d)", p.Status)
	}
	for _, sub := range p.Subproblems[:min(len(p.Subproblems), 10)] {
		fmt.Fprintf(&b, "; %s: %s (%s)", text.OneLine(sub.Identifier.Value, 100), text.OneLine(sub.Detail, 300),
			text.OneLine(strings.TrimPrefix(sub.Type, acme.ProblemTypeNamespace), 60))
	}
	return strings.TrimSpace(b.String())
}

// isProblem says whether the CA answered with a problem of one of these types; without types, with any problem.
func isProblem(err error, types ...string) bool {
	var p acme.Problem
	if !errors.As(err, &p) {
		return false
	}
	if slices.Contains(types, p.Type) {
		return true
	}
	return len(types) == 0
}
