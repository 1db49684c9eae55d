package acme

import (
	"testing"
	"time"

	"mailcertd/internal/issuer"
)

// TestSlowCA: a CA takes seconds to look at a name. The order waits for it. A question that takes too long ends, and
// the next one continues the same order.
func TestSlowCA(t *testing.T) {
	// Pebble waits for a time at random, up to this one, before it looks at each name.
	p := start(t, settings{env: []string{"PEBBLE_VA_NOSLEEP=0", "PEBBLE_VA_SLEEPTIME=12"}})
	o := p.options(newMemory())
	r := request(t, "mx.example.test", "www.example.test", "mail.example.test")
	o.Patience = time.Second
	refused(t, o, r, issuer.KindAway, false, "did not finish within 1s", "continued next time")
	o.Patience = time.Minute
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders", p.Orders())
	}
}
