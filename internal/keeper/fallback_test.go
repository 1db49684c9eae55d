package keeper

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// The first ACME CA is away. Its fallback is asked when a sixth of the lifetime is left, not before and not twice; what
// is said shows it; and the next renewal asks the first CA again.
func TestFallbackIsAsked(t *testing.T) {
	t.Parallel()
	life := 6 * aDay
	y := &publicYear{real: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), perDay: map[string]int{}}
	y.site, y.by = newSite(t, ""), newSimulatedCA(t, y.real, life)
	second := newSimulatedCA(t, y.real, life)
	y.by.windows, second.windows = true, true
	yaml := y.by.issuer(t, y.root, "first.pem")
	fallback := strings.TrimSuffix(strings.TrimPrefix(second.issuer(t, y.root, "second.pem"), "issuer: {acme: "), "}\n")
	yaml = strings.Replace(yaml, "}}", ", fallback: "+fallback+"}}", 1)
	cfg, err := config.Parse([]byte("key: {type: ecdsa-p256}\n"+yaml), "mailcertd.yaml", y.root)
	if err != nil {
		t.Fatal(err)
	}
	y.o.Config = cfg
	y.Keeper = New(y.o)
	for day := range 24 {
		away := day >= 2 && day < 8
		y.by.set(func() { y.by.away = away })
		for range 24 {
			y.looked()
			y.pass(time.Hour)
			second.at(y.real)
		}
		r := y.Check(t.Context(), plan.Wish{})
		bySecond := pki.IssuedBy(y.leaf(), second.cert)
		if y.leaf().NotAfter.Before(y.real) {
			t.Fatalf("day %d: the certificate has expired", day)
		}
		if day < 4 && bySecond || day == 5 && !bySecond || day > 10 && bySecond {
			t.Errorf("day %d: issued by the fallback: %v", day, bySecond)
		}
		if reported(r.Plan, plan.ACMEFallback) != bySecond {
			t.Errorf("day %d, issued by the fallback: %v; it says %s", day, bySecond, reasons(r))
		}
		if !r.Plan.Empty() || bySecond && r.Plan.Ask != nil && r.Plan.Ask.Request != nil {
			t.Errorf("day %d: %+v", day, r.Plan.Ask)
		}
	}
	if n := len(second.orders); n != 1 || second.orders[0].replaces != "" || len(second.polls) == 0 {
		t.Errorf("%d orders at the fallback, %d questions when to renew: %+v", n, len(second.polls), second.orders)
	}
	if y.by.orders[1].replaces != "" {
		t.Errorf("the first CA is told to replace a certificate that it does not know: %s", y.by.orders[1].replaces)
	}
	if log := strings.Join(y.log, "\n"); !strings.Contains(log, "the fallback "+second.server.URL) {
		t.Errorf("the log does not name the fallback:\n%s", log)
	}
}
