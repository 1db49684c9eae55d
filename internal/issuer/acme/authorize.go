package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/issuer"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// maxAuthorizations is the largest number of authorizations in one order.
const maxAuthorizations = 100

// isToken says whether s is a token of RFC 8555 section 8.1. This is checked because it becomes part of a path.
func isToken(s string) bool {
	return len(s) >= 16 && len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// proof is the proof of one name that the CA asks for.
type proof struct {
	url       string // the URL of the authorization
	name      string // as in the order, with the asterisk of a wildcard
	challenge acme.Challenge
}

// authorize proves the names of an order. It prepares the answers for all names first, then tells the CA to look, and
// removes what it has prepared before it returns.
func (s ordering) authorize(ctx context.Context, order acme.Order) (err error) {
	proofs, err := s.proofs(ctx, order)
	if err != nil || len(proofs) == 0 {
		return err
	}
	way := s.way()
	defer func() {
		for _, problem := range way.undo(ctx) {
			if ctx.Err() != nil { // otherwise Ask tries again, and reports it then
				s.o.Log(problem.Error())
			}
		}
	}()
	for _, p := range proofs {
		if err := way.prepare(ctx, p); err != nil {
			return s.unprepared(ctx, way, p.name, err)
		}
	}
	if name, err := way.ready(ctx); err != nil {
		return s.unprepared(ctx, way, name, err)
	}
	for _, p := range proofs {
		if p.challenge.Status != acme.StatusPending {
			continue // the CA was told to look before
		}
		s.o.Progress(fmt.Sprintf("the CA validates %s (%s)", p.name, p.challenge.Type))
		// A problem may mean that the CA was told to look before. Then the authorization says more.
		if _, err := s.client.InitiateChallenge(ctx, s.account, p.challenge); err != nil && !isProblem(err) {
			return s.refuse(ctx, p.challenge.Type+" of "+p.name, err)
		}
	}
	return s.judged(ctx, proofs)
}

// proofs returns the proofs that are still missing, each with the configured challenge.
func (s ordering) proofs(ctx context.Context, order acme.Order) ([]proof, error) {
	if n := len(order.Authorizations); n > maxAuthorizations || n == 0 {
		return nil, s.refuse(ctx, "the order", badAnswer{fmt.Sprintf("it has %d authorizations", n)})
	}
	var out []proof
	for _, u := range order.Authorizations {
		a, err := s.client.GetAuthorization(ctx, s.account, u)
		if err != nil {
			return nil, s.refuse(ctx, "an authorization", err)
		}
		name := strings.ToLower(a.IdentifierValue())
		if !slices.Contains(s.want.names, name) {
			return nil, s.refuse(ctx, "an authorization", badAnswer{fmt.Sprintf(
				"it is for %.100q, which is not in the order", name)})
		}
		if a.Status == acme.StatusValid {
			continue
		}
		if f := failure(a); f != nil {
			return nil, ended{*f}
		}
		kind := s.way().kind()
		at := slices.IndexFunc(a.Challenges, func(c acme.Challenge) bool { return c.Type == kind })
		if at < 0 {
			return nil, notOffered(kind, name, a)
		}
		c := a.Challenges[at]
		if kind != acme.ChallengeTypeDNSPersist01 && !isToken(c.Token) {
			return nil, s.refuse(ctx, "the challenge of "+name, badAnswer{fmt.Sprintf("its token is %.60q", c.Token)})
		}
		out = append(out, proof{url: u, name: name, challenge: c})
	}
	return out, nil
}

func notOffered(kind, name string, a acme.Authorization) error {
	var offered []string
	for _, c := range a.Challenges[:min(len(a.Challenges), 20)] {
		offered = append(offered, text.OneLine(c.Type, 40))
	}
	return issuer.Refusal{Kind: issuer.KindChallenge, Final: true, Reason: text.OneLine(fmt.Sprintf(
		"the CA does not offer the challenge %s for %s; it offers: %s", kind, name, strings.Join(offered, ", ")),
		issuer.MaxReason)}
}

// unprepared returns the refusal for a challenge that could not be prepared, so that the CA was not told to look. name
// is the name whose challenge it was; "" means all of them.
func (s *session) unprepared(ctx context.Context, w way, name string, err error) error {
	var r issuer.Refusal
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &r):
		return r
	}
	var kept storeError
	if errors.As(err, &kept) {
		return err
	}
	about := w.kind()
	if name != "" {
		about += " of " + name
	}
	return issuer.Refusal{Kind: issuer.KindChallenge, Reason: text.OneLine(fmt.Sprintf("%s: %v", about, err),
		issuer.MaxReason)}
}

// judged waits until the CA has checked all names.
func (s *session) judged(ctx context.Context, proofs []proof) error {
	var failures []issuer.Refusal
	for _, p := range proofs {
		for pause := (pauses{}); ; {
			a, err := s.client.GetAuthorization(ctx, s.account, p.url)
			if err != nil {
				return s.refuse(ctx, p.challenge.Type+" of "+p.name, err)
			}
			if a.Status == acme.StatusValid {
				s.o.Progress("the CA has validated " + p.name)
				break
			}
			if f := failure(a); f != nil {
				failures = append(failures, *f)
				break
			}
			if err := pause.wait(ctx, s.wire); err != nil {
				return err
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	all := failures[0]
	for _, f := range failures[1:] {
		all.Reason = text.OneLine(all.Reason+"; "+f.Reason, issuer.MaxReason)
	}
	return ended{all}
}

// failure returns why an authorization failed, with what the CA saw; nil while it is pending.
func failure(a acme.Authorization) *issuer.Refusal {
	if a.Status == acme.StatusPending || a.Status == acme.StatusValid {
		return nil
	}
	r := issuer.Refusal{Kind: issuer.KindChallenge}
	name := text.OneLine(a.IdentifierValue(), 255)
	for _, c := range a.Challenges {
		if c.Error == nil {
			continue
		}
		if c.Error.Type == acme.ProblemTypeRateLimited {
			r.Kind = issuer.KindRateLimit
		}
		r.Reason = text.OneLine(fmt.Sprintf("%s of %s: the CA says: %s", c.Type, name, said(*c.Error)),
			issuer.MaxReason)
		return &r
	}
	r.Reason = fmt.Sprintf("the authorization of %s is %s", name, text.OneLine(a.Status, 60))
	return &r
}
