package acme

import (
	"maps"
	"strings"
	"testing"

	"mailcertd/internal/issuer"
)

// TestAccountKeyReplaced: a key that does not belong to the noted account gets an account of its own, whether the old
// key was lost or replaced; when the old key comes back, so does its account.
func TestAccountKeyReplaced(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	account := func() string {
		obtain(t, o, request(t, "mx.example.test"))
		a, err := client(t, o).Account()
		if err != nil {
			t.Fatal(err)
		}
		return a.URL
	}
	first := account()
	before := maps.Clone(store.files)
	forget(store, ".key")
	if second := account(); second == first || p.Accounts() != 2 {
		t.Errorf("%s after %s, %d accounts", second, first, p.Accounts())
	}
	for name, data := range before {
		if strings.HasSuffix(name, ".key") {
			store.files[name] = data
		}
	}
	if again := account(); again != first || p.Accounts() != 2 {
		t.Errorf("%s, not %s, %d accounts", again, first, p.Accounts())
	}
}

// TestFilesDamaged: a damaged file is named, and it is not said that the CA is away. What `mailcertd check` asks finds
// it before an order does.
func TestFilesDamaged(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	obtain(t, o, request(t, "mx.example.test"))
	for _, row := range []struct{ suffix, data, says string }{
		{".key", "", "is empty; put a copy of it back, or remove it"},
		{".account", "{", "is damaged"},
		{".orders", "{", "is damaged"},
		{".placed", "{", "is damaged"},
	} {
		good := maps.Clone(store.files)
		for name := range good {
			if strings.HasSuffix(name, row.suffix) {
				store.files[name] = []byte(row.data)
			}
		}
		refused(t, o, request(t, "mx.example.test"), issuer.KindStore, false, row.suffix, row.says)
		if _, err := client(t, o).Offer(t.Context()); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: Offer says %v", row.suffix, err)
		}
		store.files = good
	}
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}
