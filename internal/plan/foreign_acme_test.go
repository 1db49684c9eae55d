package plan_test

import (
	"strings"
	"testing"

	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// `renew --force` replaces a certificate of another CA by one of the configured ACME CA, and the hint must name that
// CA: an owner who comes from another ACME client reads it first.
func TestForeignHintNamesTheACMECA(t *testing.T) {
	p := Host(Public(), Remembers(func(s *state.State) {
		*s = state.State{HighWater: s.HighWater, PickedUp: s.PickedUp}
	})).Plan()
	for _, pr := range p.Problems {
		if pr.Reason == plan.ForeignKept {
			if !strings.Contains(pr.Hint, "one of letsencrypt, run `mailcertd renew --force`") {
				t.Errorf("hint: %s", pr.Hint)
			}
			return
		}
	}
	t.Error("no certificate of another CA")
}
