package keeper

import (
	"errors"
	"testing"
	"time"

	"mailcertd/internal/state"
)

// The attempts at one issuer are one series; another issuer begins a new one.
func TestFailBy(t *testing.T) {
	var s state.State
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, want := range []struct {
		by    string
		count int
	}{{"https://a", 1}, {"https://a", 2}, {"https://b", 1}} {
		failBy(want.by, &s, "obtain", errors.New("away"), now.Add(time.Duration(i)*time.Hour))
		if f := s.Failures["obtain"]; f.Count != want.count || f.By != want.by {
			t.Errorf("%d: %+v", i, f)
		}
	}
}
