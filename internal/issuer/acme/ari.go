package acme

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"

	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// Renewal is when the CA wants a leaf to be replaced (RFC 9773 section 4.2).
type Renewal struct {
	Start, End     time.Time // the window; a window in the past means at once
	RetryAfter     time.Time // when to ask again
	ExplanationURL string    // why the CA chose this window; "" means that it did not say
}

// The limits of the time until the CA is asked again, as RFC 9773 section 4.3 advises, and the time that is used if the
// CA names none.
const (
	soonestLook = time.Minute
	latestLook  = 24 * time.Hour
	usualLook   = 6 * time.Hour
)

// RenewalInfo asks when a leaf should be replaced. ok is false if the CA has no such advice. It needs no account.
func (i *Issuer) RenewalInfo(ctx context.Context, leaf *x509.Certificate) (r Renewal, ok bool, err error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return r, false, nil // such a leaf has no identifier for this question (RFC 9773 section 4.1)
	}
	limited, cancel := context.WithTimeout(ctx, 2*i.answerIn)
	defer cancel()
	s, err := i.open(limited)
	if err != nil {
		return r, false, err
	}
	defer s.close()
	if s.dir.RenewalInfo == "" {
		return r, false, nil
	}
	id, err := acme.ARIUniqueIdentifier(leaf)
	if err != nil {
		return r, false, err
	}
	var info acme.RenewalInfo
	if err := s.get(limited, strings.TrimSuffix(s.dir.RenewalInfo, "/")+"/"+id, &info); err != nil {
		return r, false, s.refuse(ctx, "the renewal information", err)
	}
	// In UTC such a time may have a year that cannot be written as RFC 3339, and the state could not be stored with it.
	r.Start, r.End = info.SuggestedWindow.Start.UTC(), info.SuggestedWindow.End.UTC()
	if r.Start.IsZero() || !r.Start.Before(r.End) || r.Start.Year() < 1 || r.End.Year() > 9999 {
		return Renewal{}, false, s.refuse(ctx, "the renewal information", badAnswer{fmt.Sprintf(
			"its window is from %s to %s", r.Start.Format(time.RFC3339), r.End.Format(time.RFC3339))})
	}
	if u, err := url.Parse(info.ExplanationURL); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		r.ExplanationURL = text.OneLine(u.String(), 300)
	}
	now := i.o.Now()
	r.RetryAfter = now.Add(usualLook)
	if at, has := s.wire.retryAfter(); has {
		r.RetryAfter = at
	}
	if earliest := now.Add(soonestLook); r.RetryAfter.Before(earliest) {
		r.RetryAfter = earliest
	}
	if latest := now.Add(latestLook); r.RetryAfter.After(latest) {
		r.RetryAfter = latest
	}
	return r, true, nil
}
