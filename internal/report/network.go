package report

import (
	"errors"
	"net"
	"slices"
	"strings"

	"mailcertd/internal/plan"
)

// plain returns a network error without the words of Go's library: the address and the system's reason.
func plain(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err.Error()
	}
	why := op.Err
	for inner := errors.Unwrap(why); inner != nil; inner = errors.Unwrap(inner) {
		why = inner
	}
	text := strings.TrimPrefix(why.Error(), "tls: ")
	if op.Op == "dial" && op.Addr != nil {
		text = op.Addr.String() + ": " + text
	}
	return strings.Replace(err.Error(), op.Error(), text, 1)
}

// AddServed adds the answers of the listeners. A listener with another certificate than the one on disk is a warning,
// unless a pending pickup explains it.
func (r *Status) AddServed(found []Served) {
	r.Serves = found
	for _, s := range found {
		if s.Error != "" || s.OnDisk || !s.STARTTLS || r.Sendmail.PickupPending {
			continue
		}
		at := s.Addr
		if s.Pair != "" {
			at += " (" + s.Pair + ")"
		}
		pr := plan.Problem{Reason: plan.PickupPending, Severity: plan.Warning,
			Text: at + " serves serial " + s.Serial + ", which is not the certificate on disk",
			Hint: "run `service sendmail restart`"}
		i := slices.IndexFunc(r.Problems, func(o plan.Problem) bool { return o.Severity < plan.Warning })
		if i < 0 {
			i = len(r.Problems)
		}
		r.Problems = slices.Insert(slices.Clone(r.Problems), i, pr)
	}
}
