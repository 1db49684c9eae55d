package plan_test

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dane"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// tlsaSettingsRows are about settings that are changed while TLSA records of earlier ones are in the DNS.
var tlsaSettingsRows = []row{
	{"a person publishes now, and the next key waits", Host(Publishes(dane.Manual), Staged(), InDNS(TLSAOf("host"),
		TLSAOf("staged")), KeyChange(dane.Asked, "staged", 50*time.Minute)),
		"",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"a person publishes now, and the record of an old key is still there", Host(Publishes(dane.Manual),
		InDNS(TLSAOf("host"), TLSAOf("other")), KeyBefore("other", 2*time.Hour)),
		"",
		"notice tlsa-remove",
		"141.1 days: renewal is due", ""},
	{"a person publishes now, and the settings for updates are still there", Host(Publishes(dane.Update),
		Publishes(dane.Manual), InDNS(TLSAOf("host"))),
		"",
		"notice setting-unused",
		"141.1 days: renewal is due", ""},
	{"nobody publishes now, and the next key waits", Host(Staged(), InDNS(TLSAOf("host"), TLSAOf("staged")),
		KeyChange(dane.Asked, "staged", 50*time.Minute)),
		"",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"nobody publishes now, and the record of an old key is still there", Host(InDNS(TLSAOf("host"), TLSAOf("other")),
		KeyBefore("other", 2*time.Hour)),
		"",
		"notice tlsa-remove",
		"141.1 days: renewal is due", ""},
	{"a name is configured while the next key waits", Host(Publishes(dane.Update), TLSAFor(time.Hour,
		"mail.home.example", "mx.home.example"), Staged(), InDNS(TLSAOf("host"), TLSAOf("staged")),
		KeyChange(dane.Asked, "staged", 61*time.Minute)),
		"",
		"warning tlsa-change",
		"141.1 days: renewal is due", ""},
	{"a name is no longer configured, and has a record of this host", Host(Publishes(dane.Update),
		InDNS(TLSAOf("host")), FormerName(TLSAOf("host"), TLSAOf("other"))),
		"",
		"warning tlsa-remove",
		"141.1 days: renewal is due", ""},
	{"a name is no longer configured, and has records of others", Host(Publishes(dane.Update), InDNS(TLSAOf("host")),
		FormerName(TLSAOf("other"))),
		"",
		"",
		"141.1 days: renewal is due", ""},
	{"the time to live is raised while the next key waits", Host(Publishes(dane.Update), TLSAFor(2*time.Hour),
		Staged(), InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", 61*time.Minute)),
		"",
		"notice tlsa-change",
		"58m1s: the key may be changed", ""},
	{"the records of a name with records of others have another time to live", Host(Publishes(dane.Update),
		TLSAFor(2*time.Hour), InDNS(TLSAOf("host"), TLSAOf("other"))),
		"",
		"notice tlsa-foreign, notice tlsa-ttl",
		"141.1 days: renewal is due", "dane"},
	{"a person publishes, and the records have another time to live", Host(Publishes(dane.Manual),
		TLSAFor(2*time.Hour), InDNS(TLSAOf("host"))),
		"",
		"notice tlsa-ttl",
		"141.1 days: renewal is due", ""},
	{"the time to live is lowered while the next key waits", Host(Publishes(dane.Update), TLSAFor(time.Minute),
		Staged(), InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", 50*time.Minute)),
		"",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"the key shall no longer be changed, and there is a certificate for the next one", Host(Publishes(dane.Update),
		Staged(), Issued("staged", 0), InDNS(TLSAOf("host"), TLSAOf("staged")), GaveUp("staged")),
		"unstage unfinished",
		"",
		"141.1 days: renewal is due", ""},
	{"a new key is asked for, and the last change did not wait and is not over", Host(Rekey(),
		Publishes(dane.Update), InDNS(TLSAOf("other")), KeyChange(dane.AtOnce, "host", -1), KeyBefore("other",
			time.Hour)),
		"",
		"error tlsa-change, error tlsa-change",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"the key is lost, and a person publishes", Host(Publishes(dane.Manual), InDNS(TLSAOf("host")),
		Lost(certdir.KeyName)),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+",
		"2033.3 days: the CA's next generation is due", ""},
}

// fragileRows are about TLSA records that a later certificate does not fit.
var fragileRows = []row{
	{"a member, and the only TLSA record is of the whole certificate", Host(MemberOf("ca"), WholeCert()),
		"",
		"warning tlsa-fragile",
		"22h0m0s: ask ca which CAs to trust", ""},
	{"a public certificate, and the only TLSA record is of the whole certificate", Host(Public(), WholeCert()),
		"",
		"warning tlsa-fragile, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert", ""},
	{"the only TLSA record is of a CA", Host(NamesCA()),
		"",
		"warning tlsa-fragile",
		"141.1 days: renewal is due", "dane"},
	{"a member, and the only TLSA record is of a CA", Host(MemberOf("ca"), NamesCA()),
		"",
		"warning tlsa-fragile",
		"22h0m0s: ask ca which CAs to trust", "dane"},
	{"a public certificate, and the only TLSA record is of a CA", Host(Public(), NamesCA()),
		"",
		"warning tlsa-fragile, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert", "dane"},
	{"a public certificate, and a TLSA record of a CA beside that of the key", Host(Public(), NamesCA(TLSAOf("host"))),
		"",
		"notice wrong-purpose, notice tlsa-fragile",
		"5h0m0s: ask letsencrypt when to renew host.cert", ""},
}

// The daily mail says until when a person can act on a record that the next certificate will not fit.
func TestFragileHasDate(t *testing.T) {
	for name, facts := range map[string][]Fact{"renewed": {WholeCert()}, "public": {Public(), NamesCA()},
		"bought": {WholeCert(), Bought()}} {
		w := Host(facts...)
		want := w.Plan().Facts.Due
		if want.IsZero() {
			want = w.Seen.Certs.Cert.File.Certs[0].NotAfter
		}
		found := false
		f := plan.DueFacts{Config: w.Config, Observed: w.Seen, Plan: w.Plan()}
		for _, r := range plan.NeedsPerson(f, 1, w.Now) {
			found = found || strings.Contains(r.Text, want.UTC().Format("2006-01-02 15:04 UTC"))
		}
		if !found {
			t.Errorf("%s: the daily mail does not say %s", name, want)
		}
	}
}
