package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
)

// JSON and metrics have the ACME CA, each pair's window, and the orders that have given no certificate. The CA's leaves
// have no subject, and the reports are complete without it.
func TestACMEReport(t *testing.T) {
	w := given.Host(given.Public(), given.WantsSecond(), given.Names(certdir.HostECDSA),
		given.PublicPair(certdir.HostECDSA, "rsa-2048", -given.Day),
		given.Account("https://acme.example/acct/1", "tlsserver"),
		given.SaidNoTo(certdir.HostECDSA, issuer.KindRateLimit, time.Hour, "too many"))
	for _, p := range []certdir.Pair{certdir.Host, certdir.HostECDSA} {
		if c := w.Seen.Certs.Pair(p).Cert.File.Certs[0]; c.Subject.String() != "" {
			t.Fatalf("%s has the subject %s", p.Name, c.Subject)
		}
	}
	r := NewStatus("1", w.Config, keeper.Result{View: pickup.View{Observed: w.Seen, Plan: w.Plan()}}, w.Now)
	for _, p := range r.Pairs {
		c := p.Certificate
		if c == nil || len(c.Names) != 1 || c.Names[0] != given.Name || c.Origin != FromACME ||
			c.RenewalBy != plan.DueByWindow || c.Window == nil || c.Window.Start == nil ||
			!c.Renewal.After(*c.Window.Start) {
			t.Errorf("%s: %+v", p.Name, c)
		}
	}
	if a := r.ACME; a == nil || len(a.Refusals) != 1 || a.Refusals[0].Pair != "host-ecdsa" ||
		a.Refusals[0].Kind != "rate-limit" || a.Refusals[0].Attempts != 2 || a.WindowStart == nil {
		t.Errorf("%+v", r.ACME)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	if err := WriteMetrics(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`mailcertd_acme_info{directory="letsencrypt",account="https://acme.example/acct/1",profile="tlsserver"} 1`,
		`mailcertd_certificate_window_start_timestamp_seconds{file="/etc/mail/certs/host.cert",serial=`,
		`mailcertd_certificate_window_end_timestamp_seconds{file="/etc/mail/certs/host-ecdsa.cert",serial=`,
		`mailcertd_certificate_window_poll_timestamp_seconds{file="/etc/mail/certs/host-ecdsa.cert",serial=`,
		`mailcertd_acme_refused_attempts{pair="host-ecdsa",kind="rate-limit",ca="first"} 2`,
		`mailcertd_acme_refused_since_timestamp_seconds{pair="host-ecdsa",kind="rate-limit",ca="first"} `,
		`mailcertd_acme_next_order_timestamp_seconds{pair="host-ecdsa",kind="rate-limit",ca="first"} `,
	} {
		if strings.Count(b.String(), "\n"+line) != 1 {
			t.Errorf("want once %s in\n%s", line, b.String())
		}
	}
}

// An interim certificate is not renewed: the report says when the CA is asked for the one that replaces it.
func TestInterimWaitsForOrder(t *testing.T) {
	for name, c := range map[string]struct {
		facts []given.Fact
		in    time.Duration
		known bool
	}{
		"now":           {nil, 0, true},
		"in 20 minutes": {[]given.Fact{given.SaidNo(issuer.KindAway, 20*time.Minute)}, 20 * time.Minute, true},
		"a CA here":     {[]given.Fact{given.Instead(config.IssuerLocal), given.Locked()}, 0, false},
	} {
		w := given.Host(append([]given.Fact{given.ACME(), given.Interim()}, c.facts...)...)
		got := NewStatus("1", w.Config, keeper.Result{View: pickup.View{Observed: w.Seen, Plan: w.Plan()}},
			w.Now).Certificate
		if got.RenewalBy != plan.DueByIssuer || (got.Renewal != nil) != c.known ||
			c.known && !got.Renewal.Equal(w.Now.Add(c.in)) {
			t.Errorf("%s: %v, by %s", name, got.Renewal, got.RenewalBy)
		}
	}
}
