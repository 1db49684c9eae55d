package plan_test

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// daemonRows are about a person who asks while no daemon runs.
var daemonRows = []row{
	{"no daemon runs, and nothing waits", Host(WithDaemon(plan.DaemonAway)),
		"",
		"",
		"141.1 days: renewal is due", ""},
	{"no daemon runs, and the change of a key waits", Host(WithDaemon(plan.DaemonAway), Publishes(dane.Manual),
		Staged(), InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", 50*time.Minute)),
		"",
		"warning daemon-down, notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"a daemon runs, and the change of a key waits", Host(WithDaemon(plan.DaemonRuns), Publishes(dane.Manual), Staged(),
		InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", 50*time.Minute)),
		"",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"no daemon runs, and a pickup is pending", Host(WithDaemon(plan.DaemonAway), PickupPending()),
		"",
		"warning pickup-pending, warning daemon-down",
		"0s: mailcertd sends sendmail a SIGHUP, or asks which certificate it serves", ""},
	{"no daemon runs, and a record is missing", Host(WithDaemon(plan.DaemonAway), Publishes(dane.Update), InDNS()),
		"",
		"warning daemon-down",
		"141.1 days: renewal is due", ""},
	{"no daemon runs, and the DNS was never asked", Host(WithDaemon(plan.DaemonAway), Publishes(dane.Manual),
		DNSNeverAsked()),
		"",
		"warning daemon-down",
		"141.1 days: renewal is due", "dane"},
	{"no daemon runs, and a CA has refused a certificate that is due", Host(WithDaemon(plan.DaemonAway), Public(),
		Window(-Day), SaidNo(issuer.KindRateLimit, 3*time.Hour)),
		"",
		"error acme-rate-limit, warning daemon-down, notice wrong-purpose, notice renewal-due",
		"3h0m0s: ask the CA again", ""},
	{"no daemon runs, and a CA host is to be asked", Host(WithDaemon(plan.DaemonAway), MemberOf("ca.home.example"),
		ExpiresIn(100*Day)),
		"ask renewal-due",
		"warning daemon-down, notice renewal-due",
		"70.0 days: first warning before the certificate expires", ""},
	{"no daemon runs, and a command of notify has failed", Host(WithDaemon(plan.DaemonAway), Notify("another"),
		NotifyPending(2)),
		"",
		"error notify-pending, warning daemon-down",
		"1m0s: a notify command is tried again", ""},
}

// What waits for a daemon is in the daily mail too, and an overdue renewal says so in its row.
func TestDaemonDue(t *testing.T) {
	due := func(facts ...Fact) string {
		w := Host(facts...)
		var out []string
		f := plan.DueFacts{Config: w.Config, Observed: w.Seen, Plan: w.Plan()}
		for _, r := range plan.NeedsPerson(f, 30, w.Now) {
			out = append(out, r.Text)
		}
		return strings.Join(out, "\n")
	}
	waits := []Fact{Publishes(dane.Update), InDNS()}
	got := due(append(waits, WithDaemon(plan.DaemonAway))...)
	for _, part := range []string{"no mailcertd daemon is running", "no TLSA record is changed in the DNS",
		"service mailcertd start"} {
		if !strings.Contains(got, part) {
			t.Errorf("without a daemon: %q", got)
		}
	}
	if got := due(append(waits, WithDaemon(plan.DaemonRuns))...); strings.Contains(got, "daemon") {
		t.Errorf("with a daemon: %q", got)
	}
	if got := due(ExpiresIn(20*Day), WithDaemon(plan.DaemonAway)); !strings.Contains(got,
		"no mailcertd daemon is running") {
		t.Errorf("a renewal is overdue: %q", got)
	}
}
