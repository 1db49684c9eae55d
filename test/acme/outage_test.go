package acme

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
)

// TestOutageKeepsOrders: a CA answers each new order with an error for hours. Nothing of that is placed, and when the
// CA works again there is an order left for the day. An answer that may have come after the order was placed counts
// where the CA has no list of orders, and the next order then waits.
func TestOutageKeepsOrders(t *testing.T) {
	const busy = `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"busy"}`
	for name, c := range map[string]struct {
		status int
		body   string
		list   bool // the CA has a list of orders
		asked  int  // the questions that reach it in the three hours
		after  time.Duration
	}{
		"a busy CA":                        {status: 503, body: busy, asked: 15},
		"an error, and a list of orders":   {status: 500, body: "<h1>oops</h1>", list: true, asked: 15},
		"an error of a proxy, and no list": {status: 503, body: "upstream reset", asked: 3, after: 8 * time.Hour},
		"an error, and no list":            {status: 500, body: busy, asked: 3, after: 8 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, settings{})
			now := time.Now()
			o := p.options(newMemory())
			o.Now = func() time.Time { return now }
			r := request(t, "mx.example.test")
			asked, works := 0, false
			p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/list-orderz") && !c.list {
					w.Header().Set("Content-Type", "application/problem+json")
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:malformed","detail":"no such list"}`)
					return true
				}
				if works || !strings.HasPrefix(r.URL.Path, "/order-plz") {
					return false
				}
				asked++
				if strings.HasPrefix(c.body, "{") {
					w.Header().Set("Content-Type", "application/problem+json")
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
				return true
			}, nil)
			var last issuer.Refusal
			for range 15 {
				_, err := client(t, o).Ask(t.Context(), r)
				no, is := err.(issuer.Refusal)
				if !is || no.Kind != issuer.KindAway {
					t.Fatalf("%v", err)
				}
				last = no
				now = now.Add(12 * time.Minute)
			}
			if asked != c.asked {
				t.Errorf("%d questions reached the CA, want %d", asked, c.asked)
			}
			works = true
			if c.after > 0 {
				if wait := last.NotBefore.Sub(now); wait <= 0 || wait > c.after {
					t.Errorf("the next order is in %s: %s", wait, last.Reason)
				}
				now = last.NotBefore
			}
			for n := range acme.MaxOrders - c.asked%15 { // what is left for the day
				r.Replaces = obtain(t, o, r).Leaf
				if p.Orders() != n+1 {
					t.Errorf("%d orders", p.Orders())
				}
			}
			refused(t, o, r, issuer.KindRateLimit, false, fmt.Sprint(acme.MaxOrders, " orders"))
		})
	}
}
