package plan_test

import (
	"errors"
	"net/netip"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// outlookRows are about a person who checks what an order of an ACME CA would come to.
var outlookRows = []row{
	{"before the first order, and nothing is missing", Host(ACME(), WantsNoClient(), ShowsNothing(), Interim(),
		Outlook(plan.Outlook{Proofs: []plan.Prospect{{Name: Name}}})),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due",
		""},
	{"before the first order, and sendmail is to show the certificate", Host(ACME(), Interim(),
		Outlook(plan.Outlook{})),
		"ask interim-set",
		"error interim-set, notice wrong-purpose",
		"136.6 days: renewal is due",
		""},
	{"before the first order, and the port is taken", Host(ACME(), Interim(),
		Outlook(plan.Outlook{Proofs: []plan.Prospect{{Err: errors.New("http-01 cannot listen on :80")},
			{Name: Name, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Elsewhere: true}}})),
		"ask interim-set",
		"error acme-challenge, error interim-set, notice acme-challenge, notice wrong-purpose",
		"136.6 days: renewal is due",
		""},
	{"before the renewal, and the port is taken", Host(Public(),
		Outlook(plan.Outlook{Proofs: []plan.Prospect{{Err: errors.New("http-01 cannot listen on :80")},
			{Name: Name, Unknown: errors.New("no resolver answers")}}})),
		"",
		"warning acme-challenge, warning acme-challenge, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"before the first order, and the directory is away", Host(ACME(), Interim(),
		Outlook(plan.Outlook{Directory: issuer.Refusal{Kind: issuer.KindAway, Reason: "no answer"},
			Ahead: -3 * time.Hour})),
		"ask interim-set",
		"error issuer-away, error interim-set, warning acme-clock, notice wrong-purpose",
		"136.6 days: renewal is due",
		""},
	{"before the first order, and the CA wants customers", Host(ACME(), Interim(),
		Outlook(plan.Outlook{Directory: issuer.Refusal{Kind: issuer.KindEAB, Reason: "customers"}})),
		"ask interim-set",
		"error acme-account, error interim-set, notice wrong-purpose",
		"136.6 days: renewal is due",
		""},
	{"before the renewal, and the fallback wants customers", Host(Public(), WithFallback(),
		Outlook(plan.Outlook{Fallback: issuer.Refusal{Kind: issuer.KindEAB, Reason: "customers"}})),
		"",
		"warning acme-account, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
}
