package keeper

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// What an order has left where others can see it is removed when nothing else is due, also after the issuer has
// changed, and with a backoff while that fails.
func TestTracesAreRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.settle(plan.Wish{})
	web, token := filepath.Join(s.root, "web"), "0123456789abcdefgh"
	notes := filepath.Join(s.cfg.State.Dir, acmeDir, "traces.json")
	s.write(notes, []byte(`[{"kind": "webroot", "name": "`+token+`", "dir": "`+web+`"}]`))
	s.write(web, []byte("not a directory"))
	look := func() time.Time {
		t.Helper()
		if _, err := s.Look(context.Background(), "test"); err != nil {
			t.Fatal(err)
		}
		for s.asker.asking {
			<-s.wake
			if _, err := s.Look(context.Background(), "test"); err != nil {
				t.Fatal(err)
			}
		}
		next, err := s.Look(context.Background(), "test")
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	failure := func() state.Failure {
		st, _ := state.Load(s.cfg.State.Dir)
		return st.Failures[plan.TracesFailure]
	}
	next := look()
	f := failure()
	if f.Count != 1 || next.IsZero() || next.After(f.Next) || f.Next.Sub(s.now) > 2*time.Minute {
		t.Errorf("the next try is at %s, the next look at %s: %+v", f.Next, next, f)
	}
	r := s.Check(t.Context(), plan.Wish{})
	if worst, text := said(r, plan.ACMETraces); worst != plan.Warning || !strings.Contains(text, web) ||
		!strings.Contains(r.Plan.NextWhat, token) {
		t.Errorf("status says %q, and next %q", text, r.Plan.NextWhat)
	}
	if n := strings.Count(strings.Join(s.log, "\n"), "what an order has left cannot be removed"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, strings.Join(s.log, "\n"))
	}
	if err := os.Remove(web); err != nil {
		t.Fatal(err)
	}
	answer := filepath.Join(web, ".well-known/acme-challenge", token)
	s.write(answer, []byte("answer"))
	if look(); failure().Count != 1 {
		t.Error("it was tried again before its time")
	}
	s.now = f.Next.Add(time.Second)
	look()
	if _, err := os.Stat(answer); err == nil || failure().Count != 0 {
		t.Errorf("it is still there: %+v", failure())
	}
	if _, err := os.Stat(notes); err == nil {
		t.Error("it is still noted")
	}
}
