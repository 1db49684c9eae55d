package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Join forgets nothing that either state remembers, in any field, also in one that is added later.
func TestJoinForgetsNothing(t *testing.T) {
	all := full()
	all.Version = version
	for name, got := range map[string]State{"of the file": Join(all, State{}),
		"of the memory": Join(State{Version: version}, all)} {
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	file, since := full(), full()
	if Join(file, since); !file.Equal(full()) || !since.Equal(full()) {
		t.Error("one of the two was changed")
	}
}

// Of what both states know, the later counts. What began before the file could not be read goes on.
func TestJoin(t *testing.T) {
	at := func(min int) time.Time { return time.Unix(1e9, 0).UTC().Add(time.Duration(min) * time.Minute) }
	for name, c := range map[string]struct{ file, since, want State }{
		"the later clock":                {State{HighWater: at(2)}, State{HighWater: at(1)}, State{HighWater: at(2)}},
		"the CA that was made meanwhile": {State{CA: "a"}, State{CA: "b"}, State{CA: "b"}},
		"the later pickup": {State{PickedUp: PickedUp{Set: "a", At: at(1)}},
			State{PickedUp: PickedUp{Set: "b", At: at(2)}},
			State{PickedUp: PickedUp{Set: "b", At: at(2)}}},
		"a pickup that was proven": {State{Pickup: &Pickup{Set: "a", Since: at(1)}},
			State{PickedUp: PickedUp{Set: "a", At: at(2)}},
			State{PickedUp: PickedUp{Set: "a", At: at(2)}}},
		"a pending pickup of another set": {State{Pickup: &Pickup{Set: "a", Since: at(1)}},
			State{PickedUp: PickedUp{Set: "b", At: at(2)}},
			State{Pickup: &Pickup{Set: "a", Since: at(1)}, PickedUp: PickedUp{Set: "b", At: at(2)}}},
		"a newer pending pickup": {State{Pickup: &Pickup{Set: "a"}}, State{Pickup: &Pickup{Set: "b"}},
			State{Pickup: &Pickup{Set: "b"}}},
		"a command that has run": {State{Notify: map[string]*NotifyPending{"x": {Set: "a"}, "y": {Set: "a"}}},
			State{Notified: map[string]string{"x": "a"}},
			State{Notify: map[string]*NotifyPending{"y": {Set: "a"}}, Notified: map[string]string{"x": "a"}}},
		"one series of failures": {State{Failures: map[string]Failure{
			"x": {Count: 3, First: at(1), Last: at(2), Next: at(3), Error: "old"}}},
			State{Failures: map[string]Failure{"x": {Count: 2, First: at(4), Last: at(5), Next: at(6), Error: "new"}}},
			State{Failures: map[string]Failure{"x": {Count: 5, First: at(1), Last: at(5), Next: at(6), Error: "new"}}}},
		"since when a name is another": {State{Name: NameSeen{"n", at(1)}}, State{Name: NameSeen{"n", at(2)}},
			State{Name: NameSeen{"n", at(1)}}},
		"another name": {State{Name: NameSeen{"n", at(1)}}, State{Name: NameSeen{"m", at(2)}},
			State{Name: NameSeen{"m", at(2)}}},
		"since when there is no match": {State{Mismatch: Seen{"d", at(1)}}, State{Mismatch: Seen{"d", at(2)}},
			State{Mismatch: Seen{"d", at(1)}}},
		"one old key once": {State{OldKeys: []OldKey{{Backup: "g", Name: "k"}}},
			State{OldKeys: []OldKey{{Backup: "g", Name: "k", After: at(1)}, {Backup: "h", Name: "k"}}},
			State{OldKeys: []OldKey{{Backup: "g", Name: "k", After: at(1)}, {Backup: "h", Name: "k"}}}},
		"what is ours": {State{Ours: map[string]Ours{"a": {Kind: "key"}}},
			State{Ours: map[string]Ours{"b": {Kind: "cert"}}},
			State{Ours: map[string]Ours{"a": {Kind: "key"}, "b": {Kind: "cert"}}}},
	} {
		if diff := cmp.Diff(c.want.plain(), Join(c.file, c.since).plain()); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
