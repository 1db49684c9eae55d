package keeper

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/plan"
)

// A renewal that keeps the key backs up the certificate without it. This backup can be restored as long as another
// backup contains the key.
func TestRestoreTakesKeyOfAnotherBackup(t *testing.T) {
	t.Parallel()
	s := newPairs(t, "")
	s.settle(plan.Wish{})
	key, cert := s.content("host.key"), s.content("host.cert")
	for range 2 {
		s.later(24 * time.Hour)
		s.settle(s.allPairs(plan.Wish{Renew: true, Once: true}))
	}
	s.later(24 * time.Hour)
	s.settle(s.allPairs(plan.Wish{Rekey: true, Once: true}))
	if bytes.Equal(key, s.content("host.key")) || bytes.Equal(cert, s.content("host.cert")) {
		t.Fatal("nothing was renewed")
	}
	gens, err := s.Backups()
	if err != nil || len(gens) != 3 || len(gens[2].Files) != 1 {
		t.Fatalf("backups %+v, %v", gens, err)
	}
	first := gens[2].ID
	if _, err := s.Restore(t.Context(), first, false); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key, s.content("host.key")) || !bytes.Equal(cert, s.content("host.cert")) {
		t.Error("the first pair was not restored")
	}
	if why := s.complete(s.settle(plan.Wish{})); why != "" || !bytes.Equal(cert, s.content("host.cert")) {
		t.Errorf("the next ensure: %s", why)
	}
}

// A key that no TLSA record names is restored only by force: hosts that check the records would keep their mail.
func TestRestoreAsksTLSA(t *testing.T) {
	s := daneSite(t, "dane: {publish: manual}", false)
	first := s.key()
	if r, err := s.rekey(true); err != nil || s.key() == first {
		t.Fatalf("%v: %+v", err, r.Plan.Problems)
	}
	second := s.key()
	s.saw(dane.RecordOf(second, time.Hour))
	gens, err := s.Backups()
	if err != nil || len(gens) == 0 {
		t.Fatalf("%+v, %v", gens, err)
	}
	s.o.DANE = false // nobody would answer
	before := snapshot(t, s.root)
	_, err = s.Restore(t.Context(), gens[0].ID, false)
	if err == nil || !strings.Contains(err.Error(), dane.RecordOf(first, time.Hour).String()) ||
		!strings.Contains(err.Error(), "--force") || snapshot(t, s.root) != before {
		t.Errorf("the restored key is %s (first %s, second %s): %v", s.key(), first, second, err)
	}
	what, notes, err := s.RestoreTrial(t.Context(), gens[0].ID, true)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], dane.RecordOf(first, time.Hour).String()) ||
		!strings.HasPrefix(what, "would restore backup "+gens[0].ID+": ") || snapshot(t, s.root) != before {
		t.Errorf("a dry run by force: %q, %q, %v", what, notes, err)
	}
	if _, err := s.Restore(t.Context(), gens[0].ID, true); err != nil || s.key() != first {
		t.Errorf("by force: %v", err)
	}
}
