package plan_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// memberRows are about a member, whose CA is on the CA host.
var memberRows = []row{
	{"a member", Host(MemberOf("ca.home.example")),
		"",
		"",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member that has asked a day ago", Host(MemberOf("ca.home.example"), AskedAgo(25*time.Hour)),
		"ask trust-ask",
		"",
		"141.1 days: renewal is due", ""},
	{"a member that has never asked", Host(MemberOf("ca.home.example"), EmptyDisk(), NeverAsked()),
		"stage-key key-missing rsa-2048; " +
			"install key-missing: host.key, host.cert, cacert.pem, dh.param, self-signed",
		"error key-missing, error cert-missing, error no-issuer, error cacert-missing+, warning dh-missing+",
		"", "clock, high_water"},
	{"a member with an interim certificate", Host(MemberOf("ca.home.example"), Interim()),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due", ""},
	{"a member with an interim certificate, and the answer is there", Host(MemberOf("ca.home.example"), Interim(),
		Issued("host", 0)),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due", ""},
	{"a member whose certificate is deleted", Host(MemberOf("ca.home.example"), NoCert()),
		"install cert-missing: host.cert, self-signed",
		"error cert-missing, error no-issuer",
		"", ""},
	{"a member whose certificate is deleted, and the last answer is there", Host(MemberOf("ca.home.example"),
		NoCert(), Issued("host", Day)),
		"install cert-missing: host.cert",
		"error cert-missing+",
		"", ""},
	{"a member whose key is deleted", Host(MemberOf("ca.home.example"), NoKey()),
		"stage-key key-missing rsa-2048; " +
			"install key-missing: host.key, host.cert, a copy of host.cert, self-signed",
		"error key-missing, error no-issuer",
		"", ""},
	{"a member with a third of the life left", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day)),
		"ask renewal-due",
		"notice renewal-due",
		"70.0 days: first warning before the certificate expires", ""},
	{"a member with a third of the life left, and the answer is there", Host(MemberOf("ca.home.example"),
		ExpiresIn(100*Day), Issued("host", 0)),
		"install renewal-due: host.cert, a copy of host.cert",
		"notice renewal-due+",
		"", ""},
	{"a member with a third of the life left, whose CA cannot be reached", Host(MemberOf("ca.home.example"),
		ExpiresIn(100*Day), Failed(plan.ObtainFailure, 4, 20*time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"20m0s: ask the CA again", ""},
	{"a member with a third of the life left, whose CA cannot be reached, and somebody asks", Host(
		MemberOf("ca.home.example"), ExpiresIn(100*Day), Failed(plan.ObtainFailure, 4, 20*time.Minute), Renew()),
		"ask renewal-due",
		"error issuer-away, notice renewal-due, notice asked",
		"70.0 days: first warning before the certificate expires", ""},
	{"a member whose CA cannot be reached", Host(
		MemberOf("ca.home.example"), Failed(plan.ObtainFailure, 4, 20*time.Minute)),
		"",
		"warning issuer-away",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member with a new key whose request has failed, and the wait is over", Host(MemberOf("ca.home.example"),
		KeyIsOld(400*Day), RotateAfter(365*Day), Staged(), RequestOut(10*time.Minute),
		Failed(plan.ObtainFailure, 1, -time.Second)),
		"ask key-rotation, new key",
		"warning issuer-away, notice key-rotation",
		"141.1 days: renewal is due", ""},
	{"a member that got a certificate for other names", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", 0, IsFor("other.home.example"))),
		"ask renewal-due",
		"notice renewal-due",
		"70.0 days: first warning before the certificate expires", ""},
	{"a member that got one for servers only", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", 0, Usage(x509.ExtKeyUsageServerAuth)), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"59m0s: ask the CA again", ""},
	{"a member that got one which is due at once", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", 300*Day), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"59m0s: ask the CA again", ""},
	{"a member that got one which has expired", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", 370*Day), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"59m0s: ask the CA again", ""},
	{"a member that got one which begins tomorrow", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", -Day), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"59m0s: ask the CA again", ""},
	{"a member that got one which begins in ten minutes", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", -10*time.Minute), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"10m0s: ask the CA again", ""},
	{"a member that got one of another CA", Host(MemberOf("ca.home.example"), ExpiresIn(100*Day),
		Issued("host", 0, FromOther()), AskedAgo(time.Minute)),
		"",
		"error issuer-away, notice renewal-due",
		"59m0s: ask the CA again", ""},
	{"a member that asks for a new key", Host(MemberOf("ca.home.example"), Rekey()),
		"stage-key asked-new-key ecdsa-p256",
		"notice asked-new-key, notice asked",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member that asks for a new key, which is staged", Host(MemberOf("ca.home.example"), Rekey(), Staged()),
		"ask asked-new-key, new key",
		"notice asked-new-key, notice asked",
		"141.1 days: renewal is due", ""},
	{"a member that asks for a new key, and has the answer", Host(MemberOf("ca.home.example"), Rekey(), Staged(),
		Issued("staged", 0)),
		"install asked-new-key: host.key, host.cert, a copy of host.key, a copy of host.cert",
		"notice asked-new-key+, notice asked+",
		"", ""},
	{"a member that waits for the answer to a request for a staged key", Host(MemberOf("ca.home.example"), Staged(),
		RequestOut(10*time.Minute)),
		"",
		"",
		"10m0s: mailcertd stops waiting for the answer to a request", ""},
	{"a member that has waited too long for the answer to a request for a staged key", Host(
		MemberOf("ca.home.example"), Staged(),
		RequestOut(-time.Minute)),
		"unstage unfinished",
		"",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member whose key is too old, with a request out", Host(MemberOf("ca.home.example"), KeyIsOld(400*Day),
		RotateAfter(365*Day), Staged(), RequestOut(10*time.Minute)),
		"",
		"notice key-rotation",
		"10m0s: ask the CA again", ""},
	{"a member is shown the next generation", Host(MemberOf("ca.home.example"), Shows(true)),
		"accept-ca cacert-not-issuer",
		"",
		"141.1 days: renewal is due", ""},
	{"a member is shown a CA that nobody has signed", Host(MemberOf("ca.home.example"), Shows(false)),
		"",
		"error ca-refused",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member that cannot read what it trusts", Host(MemberOf("ca.home.example"), AcceptedUnreadable()),
		"",
		"error unreadable",
		"141.1 days: renewal is due", ""},
	{"a member that cannot read the last answer", Host(MemberOf("ca.home.example"), ReplyUnreadable()),
		"",
		"warning issuer-away",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member that has lost its state", Host(MemberOf("ca.home.example"), StateLost()),
		"ask trust-ask",
		"",
		"141.1 days: renewal is due", "clock, high_water, ours, picked_up"},
	{"a member that trusts another set than it told", Host(MemberOf("ca.home.example"),
		Remembers(func(s *state.State) { s.Member.Told = "another" })),
		"ask trust-ask",
		"",
		"141.1 days: renewal is due", ""},
	{"a member whose certificate was revoked", Host(MemberOf("ca.home.example"), RevokedAtCA(4)),
		"ask revoked",
		"error revoked",
		"141.1 days: renewal is due", ""},
	{"a member whose certificate was revoked, because somebody has the key", Host(MemberOf("ca.home.example"),
		RevokedAtCA(1)),
		"stage-key revoked ecdsa-p256",
		"error revoked",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member with a CRL", Host(MemberOf("ca.home.example"), InstallCRL(), CRL(Day, 29*Day)),
		"install crl-due: crl.pem, e5cedbc3.r0, extra",
		"warning cf-other-files, notice crl-due+, notice link-missing+",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member with a CRL that lives for a day", Host(MemberOf("ca.home.example"), InstallCRL(),
		CRL(18*time.Hour, 6*time.Hour)),
		"install crl-due: crl.pem, e5cedbc3.r0, extra; ask trust-ask",
		"warning cf-other-files, notice crl-due+, notice link-missing+",
		"2h0m0s: the CRL expires soon", ""},
	{"a member with a CRL that begins tomorrow", Host(MemberOf("ca.home.example"), InstallCRL(), CRL(-Day, 31*Day)),
		"",
		"warning crl-stale",
		"22h0m0s: ask ca.home.example which CAs to trust", ""},
	{"a member with a bought certificate", Host(MemberOf("ca.home.example"), Bought()),
		"ask trust-ask",
		"notice foreign-kept",
		"235.0 days: first warning before the certificate expires", ""},
	{"a member whose own CA was here once", Host(MemberOf("ca.home.example"), FromLostCA()),
		"install cacert-not-issuer: cacert.pem, e5cedbc3.0, a copy of cacert.pem; ask issuer-gone",
		"error issuer-gone, error cacert-not-issuer+, warning link-missing+",
		"140.3 days: renewal is due", ""},
}

// The problem of a member that waits for its CA host says which host is asked and how to ask it now.
func TestMemberIsToldHowToAsk(t *testing.T) {
	asks := 0
	for _, r := range memberRows {
		p := r.given.Plan()
		if p.Ask == nil || p.Ask.Request == nil {
			continue
		}
		for _, pr := range p.Problems {
			if pr.Reason != p.Ask.Reason {
				continue
			}
			asks++
			if !strings.Contains(pr.Hint, "the daemon asks ") || !strings.Contains(pr.Hint, "`mailcertd renew`") {
				t.Errorf("%s: [%s] %s\nhint: %s", r.name, pr.Reason, pr.Text, pr.Hint)
			}
		}
	}
	if asks < 3 {
		t.Errorf("%d rows ask", asks)
	}
}
