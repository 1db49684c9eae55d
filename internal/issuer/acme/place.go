package acme

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// place asks for a new order. It writes a note before that, and adds the URL to the note after it.
// unsure says that it is not known whether the last one was placed.
func (s ordering) place(ctx context.Context, unsure bool) (acme.Order, error) {
	profile, err := s.profile()
	if err != nil {
		return acme.Order{}, err
	}
	open := openOrder{Names: s.want.names, Key: s.want.keyID, Profile: profile,
		Since: s.o.Now().UTC().Truncate(time.Second)}
	if s.want.replaces != nil && s.dir.RenewalInfo != "" && len(s.want.replaces.AuthorityKeyId) > 0 {
		if open.Replaces, err = acme.ARIUniqueIdentifier(s.want.replaces); err != nil {
			open.Replaces = "" // the new order does not name the certificate that it replaces
		}
	}
	if err := s.count(unsure); err != nil {
		return acme.Order{}, err
	}
	if s.saved.Profile != profile {
		s.saved.Profile = profile
		if err := s.save(s.file("account"), s.saved); err != nil {
			return acme.Order{}, err
		}
	}
	for known := false; ; {
		if err := s.note(s.want, open); err != nil {
			return acme.Order{}, err
		}
		s.o.Progress("placing an order for " + strings.Join(s.want.names, ", "))
		order, err := s.client.NewOrder(ctx, s.account, acme.Order{Identifiers: s.want.ids, Profile: profile,
			Replaces: open.Replaces})
		var lost *lostOrder
		switch {
		case err == nil:
			return s.placed(ctx, open, order)
		case isProblem(err, acme.ProblemTypeAccountDoesNotExist, acme.ProblemTypeUnauthorized) && !known:
			known = true // the CA may have lost its accounts, or have closed this one
			if err := s.unknown(ctx); err != nil {
				return acme.Order{}, s.refusedOrder(err)
			}
			continue
		case open.Replaces != "" && withoutReplaces(err):
			open.Replaces = ""
			if errors.As(err, &lost) {
				order, is, err := s.listed(ctx, open)
				if err != nil || is == atCA {
					return order, err
				}
				s.wire.lost = nil
			}
			continue
		}
		refusal := s.refuse(ctx, "a new order", err)
		switch {
		case errors.As(err, &lost) && lost.busy():
			if u := s.unplaced(); u != nil {
				refusal = errors.Join(refusal, u)
			}
			refusal = s.forgetting(refusal)
		case isProblem(err) && !errors.As(err, &lost): // the CA has clearly refused: there is no order to look for
			refusal = s.refusedOrder(refusal)
		}
		return acme.Order{}, refusal
	}
}

// withoutReplaces says whether the same order may be accepted if it does not name the certificate that it replaces:
// because that certificate is replaced already, or because the CA does not know it, as after a change of the issuer.
func withoutReplaces(err error) bool {
	var lost *lostOrder
	if errors.As(err, &lost) {
		return lost.problem != nil && lost.problem.Type == acme.ProblemTypeServerInternal
	}
	return isProblem(err, acme.ProblemTypeAlreadyReplaced, acme.ProblemTypeMalformed, acme.ProblemTypeUnauthorized,
		acme.ProblemTypeServerInternal) || isNotFound(err)
}

func isNotFound(err error) bool {
	var p acme.Problem
	return errors.As(err, &p) && p.Status == 404
}

// placed checks a new order and notes its URL.
func (s ordering) placed(ctx context.Context, open openOrder, order acme.Order) (acme.Order, error) {
	if !strings.HasPrefix(order.Location, "https://") {
		return acme.Order{}, s.refuse(ctx, "a new order", badAnswer{fmt.Sprintf(
			"its URL is %.200q, must be an https URL", order.Location)})
	}
	open.URL, open.Expires = order.Location, order.Expires
	if err := s.note(s.want, open); err != nil {
		return acme.Order{}, err
	}
	if !sameNames(order, s.want) {
		return acme.Order{}, s.refuse(ctx, "a new order", badAnswer{"it is for other names than those asked for"})
	}
	return order, nil
}
