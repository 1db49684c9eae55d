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

// TestLimit: only a few orders a day for the same names may reach the CA, whatever is asked for. Other names have
// orders of their own, and the count starts again the next day.
func TestLimit(t *testing.T) {
	p := start(t, settings{})
	now := time.Now()
	o := p.options(newMemory())
	o.Now = func() time.Time { return now }
	r := request(t, "mx.example.test")
	for range acme.MaxOrders {
		r.Replaces = obtain(t, o, r).Leaf
	}
	_, err := client(t, o).Ask(t.Context(), r)
	no, is := err.(issuer.Refusal)
	if !is || no.Kind != issuer.KindRateLimit || no.Final || no.NotBefore.Sub(now).Round(time.Minute) != 24*time.Hour {
		t.Errorf("%+v", err)
	}
	if p.Orders() != acme.MaxOrders {
		t.Errorf("%d orders", p.Orders())
	}
	obtain(t, o, request(t, "mx2.example.test"))
	now = now.Add(-72 * time.Hour) // notes of a clock that was ahead do not count
	obtain(t, o, r)
	if p.Orders() != acme.MaxOrders+2 {
		t.Errorf("%d orders", p.Orders())
	}
}

// TestRefusedOrdersDoNotCount: an order that the CA has refused was not placed, and does not keep a person who has
// corrected the cause from placing one.
func TestRefusedOrdersDoNotCount(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/order-plz") {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"forbidden by policy"}`)
		return true
	}, nil)
	for range acme.MaxOrders + 1 {
		refused(t, o, r, issuer.KindOrder, true, "forbidden by policy")
	}
	p.front.Hook(nil, nil)
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}
