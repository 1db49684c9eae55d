package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	d := &durable.Disk{}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	s := State{HighWater: now, CA: "ab", Pickup: &Pickup{Set: "x", HUPs: []HUP{{At: now, Sent: true}}},
		Notify: map[string]*NotifyPending{"a b": {Set: "x"}}}
	s.AddOurs("00", "key", now)
	if err := Save(d, dir, s); err != nil {
		t.Fatal(err)
	}
	got, l := Load(dir)
	if l.Problem != nil || !l.Present || !got.Equal(s) {
		t.Errorf("%+v, %+v", got, l)
	}
	path := filepath.Join(dir, FileName)
	st, _ := os.Stat(path)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	n := d.Points()
	if err := Save(d, dir, got); err != nil || d.Points() != n {
		t.Errorf("written without a difference: %v", err)
	}
	c := got.Clone()
	c.Pickup.HUPs[0].Sent, c.Notify["a b"].Set = false, "y"
	c.AddOurs("01", "cert", now)
	if got.Equal(c) || !got.Pickup.HUPs[0].Sent || got.Notify["a b"].Set != "x" || len(got.Ours) != 1 {
		t.Error("a copy shares something with its original")
	}
}

// Nothing is lost from the state that version 0.1.0 wrote: a pending pickup, and the old keys that are to be deleted.
func TestOlderKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, []byte(`{"version": 1,
  "debt": {"set": "s", "leaf": "l", "since": "2026-06-01T12:00:00Z", "instance": {"pid": 7, "pid_file": "/p"},
    "hups": [{"instance": {"pid": 7}, "at": "2026-06-01T12:00:01Z", "sent": true}], "attempts": 2, "was_up": true},
  "delivered": {"set": "d", "leaf": "l", "at": "2026-05-01T12:00:00Z", "how": "proven", "instance": "7 /p"},
  "deliveries": [{"at": "2026-05-01T12:00:00Z", "serial": "0A", "result": "proven"}],
  "old_keys": [{"generation": "20260601T115959Z", "name": "host.key", "after": "2026-06-08T12:00:00Z"}]}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	s, l := Load(dir)
	if l.Problem != nil {
		t.Fatal(l.Problem)
	}
	if s.Pickup == nil || s.Pickup.Set != "s" || s.Pickup.Attempts != 2 || len(s.Pickup.HUPs) != 1 ||
		!s.Pickup.HUPs[0].Sent || s.Pickup.Instance.PID != 7 || !s.Pickup.WasUp {
		t.Errorf("pickup %+v", s.Pickup)
	}
	if s.PickedUp.Set != "d" || s.PickedUp.How != "proven" || s.PickedUp.Instance != "7 /p" ||
		len(s.Pickups) != 1 || s.Pickups[0].Serial != "0A" {
		t.Errorf("picked up %+v, %+v", s.PickedUp, s.Pickups)
	}
	if len(s.OldKeys) != 1 || s.OldKeys[0].Backup != "20260601T115959Z" || s.OldKeys[0].Name != "host.key" {
		t.Errorf("old keys %+v", s.OldKeys)
	}
	if err := Save(&durable.Disk{}, dir, s); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	for _, old := range []string{`"debt"`, `"generation"`, `"delivered"`, `"deliveries"`} {
		if err != nil || strings.Contains(string(data), old) {
			t.Errorf("%v: %s is still written:\n%s", err, old, data)
		}
	}
	if again, l := Load(dir); l.Problem != nil || !again.Equal(s) {
		t.Errorf("%+v became %+v, %v", s, again, l.Problem)
	}
}

// Garbage is kept beside the new file, and a newer version's file is not changed.
func TestDamaged(t *testing.T) {
	for text, newer := range map[string]bool{"": false, "{": false, "hello": false, `{"version":0}`: false,
		`{"version":99}`: true, `{"version":1,"debt":7}`: false, `{"version":1,"pickup":7}`: false} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, l := Load(dir)
		if l.Problem == nil || !strings.Contains(l.Problem.Error(), path) || !s.Equal(State{}) {
			t.Errorf("%q: %+v", text, l)
		}
		err := Save(&durable.Disk{}, dir, State{CA: "x"})
		if errors.Is(err, ErrNewer) != newer || err != nil && !newer {
			t.Errorf("%q: %v", text, err)
		}
		aside, _ := filepath.Glob(path + ".bad-*")
		if newer {
			if b, _ := os.ReadFile(path); string(b) != text {
				t.Errorf("%q was overwritten", text)
			}
		} else if len(aside) != 1 {
			t.Errorf("%q: kept aside: %v", text, aside)
		}
	}
}

func TestBounds(t *testing.T) {
	var s State
	now := time.Unix(1e9, 0)
	for i := range 1000 {
		s.AddOurs(fmt.Sprintf("%04d", i), "cert", now.Add(time.Duration(i)*time.Minute))
	}
	if _, newest := s.Ours["0999"]; len(s.Ours) != maxOurs || !newest {
		t.Errorf("%d remembered", len(s.Ours))
	}
	at := s.Ours["0999"].At
	s.AddOurs("0999", "cert", now.AddDate(1, 0, 0))
	if !s.Ours["0999"].At.Equal(at) {
		t.Error("the age of a known file changed")
	}
}

// A state that loads can be saved, and loads again as the same state.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"pickup":{"set":"a"},"debt":{"set":"b"},"old_keys":[{"generation":"x"},null]}`))
	f.Add([]byte(`{"version":1,"ours":{"x":{"kind":"key"}},"debt":{"set":"a","hups":[{}]},"notify":{"a":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, l := Load(dir)
		if err := Save(&durable.Disk{}, dir, s); errors.Is(l.Problem, ErrNewer) {
			return
		} else if err != nil {
			t.Skip(err) // such as a year that JSON cannot hold
		}
		if again, l := Load(dir); l.Problem != nil || !again.Equal(s) {
			t.Fatalf("%v: %+v became %+v", l.Problem, s, again)
		}
	})
}
