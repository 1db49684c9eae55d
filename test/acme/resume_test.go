package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
)

// TestKilledAtEveryNote: the program is killed before or after each operation of its Store. The next one finishes with
// the same account and the same order, and removes what the first one left in public view.
func TestKilledAtEveryNote(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_WFE_NONCEREJECT=0"}})
	for _, before := range []bool{true, false} {
		for n := 1; ; n++ {
			z, store := p.zone(), newMemory()
			ctx, kill := context.WithCancel(context.Background())
			store.die, store.before, store.killing = n, before, func() { z.dead = true; kill() }
			if done := killed(t, ctx, p, store, z, fmt.Sprintf("operation %d, before %v", n, before)); done {
				if n < 15 {
					t.Errorf("only %d operations", n)
				}
				break
			}
			kill()
		}
	}
}

// TestKilledAtEveryRequest: the program is killed at every request, before or after Pebble has got it.
func TestKilledAtEveryRequest(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_WFE_NONCEREJECT=0"}})
	for _, reaches := range []bool{false, true} {
		for n := 1; ; n++ {
			z, store := p.zone(), newMemory()
			ctx, kill := context.WithCancel(context.Background())
			count := 0
			dies := func() bool {
				if count++; count != n {
					return false
				}
				store.mu.Lock()
				store.dead, z.dead = true, true
				store.mu.Unlock()
				kill()
				return true
			}
			if reaches {
				p.front.Hook(nil, func(*http.Request, int) bool { return !dies() })
			} else {
				p.front.Hook(func(http.ResponseWriter, *http.Request) bool {
					if dies() {
						panic(http.ErrAbortHandler)
					}
					return false
				}, nil)
			}
			if done := killed(t, ctx, p, store, z, fmt.Sprintf("request %d, reaches %v", n, reaches)); done {
				if n < 10 {
					t.Errorf("only %d requests", n)
				}
				break
			}
			kill()
		}
	}
}

// killed asks with a program that is killed, then with the next one. done means that the first one ended before it
// could be killed.
func killed(t *testing.T, ctx context.Context, p *pebble, store *memory, z *zone, what string) (done bool) {
	t.Helper()
	orders, accounts := p.Orders(), p.Accounts()
	o := p.options(store)
	o.Challenge, o.DNS = acme.DNS01, z
	o.Log = func(string) {}
	r := request(t, "mx.example.test", "www.example.test")
	_, err := client(t, o).Ask(ctx, r)
	killedIt := store.dead
	p.front.Hook(nil, nil)
	store.reborn()
	z.dead = false
	if !killedIt && err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	reply, err := client(t, o).Ask(context.Background(), r)
	if err != nil {
		t.Fatalf("%s: then %v", what, err)
	}
	if err := r.Answered(reply); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if n := p.Orders() - orders; n != 1 {
		t.Errorf("%s: %d orders", what, n)
	}
	if n := p.Accounts() - accounts; n != 1 {
		t.Errorf("%s: %d accounts", what, n)
	}
	if len(z.has) != 0 || len(store.files["traces.json"]) != 0 {
		t.Errorf("%s: left over: %v, %s", what, z.has, store.files["traces.json"])
	}
	return !killedIt
}

// TestKilledWithWebroot: the file that a killed program left in the webroot is removed.
func TestKilledWithWebroot(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	o.Listener.Webroot = t.TempDir()
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	o.Progress = func(step string) {
		if strings.HasPrefix(step, "the CA validates") {
			kill()
			store.mu.Lock()
			store.dead = true
			store.mu.Unlock()
		}
	}
	if _, err := client(t, o).Ask(ctx, request(t, "mx.example.test")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	store.reborn()
	// The program had time to remove its files. This puts the file back, as it would be after SIGKILL.
	left := filepath.Join(o.Listener.Webroot, ".well-known/acme-challenge", token(t, store))
	if err := os.WriteFile(left, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(store.files["traces.json"]), "webroot") {
		t.Errorf("nothing is noted: %s", store.files["traces.json"])
	}
	client(t, o).Tidy(context.Background())
	if _, err := os.Stat(left); store.files["traces.json"] != nil || err == nil {
		t.Errorf("still noted: %s; left over: %v", store.files["traces.json"], err)
	}
}

// TestLostAnswer: after a lost answer to newOrder no second order is placed, although the program asks again.
func TestLostAnswer(t *testing.T) {
	p := start(t, settings{})
	lost := 0
	p.front.Hook(nil, func(r *http.Request, status int) bool {
		if r.URL.Path == "/order-plz" && status == http.StatusCreated && lost == 0 {
			lost++
			return false
		}
		return true
	})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	refused(t, o, r, issuer.KindAway, false, "could not find out whether the order was placed")
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}

// TestManyOrders: the order whose answer was lost is on the last of many pages of the list of orders.
func TestManyOrders(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_WFE_ORDERS_PER_PAGE=2", "PEBBLE_AUTHZREUSE=100"}})
	o := p.options(newMemory())
	for range acme.MaxOrders - 1 {
		obtain(t, o, request(t, "mx.example.test"))
	}
	r := request(t, "mx.example.test")
	p.front.Hook(nil, func(r *http.Request, status int) bool {
		return r.URL.Path != "/order-plz" || status != http.StatusCreated
	})
	refused(t, o, r, issuer.KindAway, false)
	p.front.Hook(nil, nil)
	obtain(t, o, r)
	if p.Orders() != acme.MaxOrders {
		t.Errorf("%d orders", p.Orders())
	}
}

// TestTwoKeys: two pairs with the same names have an order each, and neither uses the other's.
func TestTwoKeys(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	a, b := request(t, "mx.example.test"), request(t, "mx.example.test")
	first, second := obtain(t, o, a), obtain(t, o, b)
	if again := obtain(t, o, a); !again.Leaf.Equal(first.Leaf) || first.Leaf.Equal(second.Leaf) || p.Orders() != 2 {
		t.Errorf("%d orders", p.Orders())
	}
}

// TestPatience: where the CA is slower than one Ask may take, the next Ask continues the order.
func TestPatience(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	o.Challenge, o.DNS = acme.DNS01, nowhere{}
	o.Patience = 2 * time.Second
	o.DNS = p.zone()
	r := request(t, "mx.example.test")
	began := time.Now()
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/chalZ/") {
			return false
		}
		time.Sleep(3 * time.Second)
		return true
	}, nil)
	no := refused(t, o, r, issuer.KindAway, false, "2s", "continued")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %s: %s", d, no.Reason)
	}
	p.front.Hook(nil, nil)
	o = p.options(o.Store)
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}

// token is the token in the notes of a store.
func token(t *testing.T, m *memory) string {
	t.Helper()
	var traces []struct{ Name string }
	if err := json.Unmarshal(m.files["traces.json"], &traces); err != nil || len(traces) != 1 {
		t.Fatalf("%v: %s", err, m.files["traces.json"])
	}
	return traces[0].Name
}
