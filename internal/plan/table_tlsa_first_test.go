package plan_test

import (
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// tlsaFirstRows are about the first key of a second pair, where there are TLSA records.
var tlsaFirstRows = []row{
	{"a second pair is configured, and sendmail.cf names it", Host(WantsSecond(), Names(second),
		Publishes(dane.Update), InDNS(TLSAOf("host"))),
		"install tlsa-change: host-ecdsa.key, host-ecdsa.cert",
		"notice tlsa-change",
		"4m0s: ask the name servers for the TLSA records again", "dane"},
	{"a second pair is configured, and sendmail.cf does not name it", Host(WantsSecond(),
		Publishes(dane.Update), InDNS(TLSAOf("host"))),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair is configured, sendmail.cf names it, and there are no records", Host(WantsSecond(), Names(second),
		Publishes(dane.Update), InDNS()),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair is configured, and its placeholders are there", Host(WantsSecond(), Names(second),
		Placeholders(second), Publishes(dane.Update), InDNS(TLSAOf("host")), KeyChangeOf(second, dane.First, "", -1)),
		"stage-key key-missing rsa-2048",
		"notice tlsa-change",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"the first key of a second pair waits for its record", Host(WantsSecond(), Names(second), Placeholders(second),
		StagedFor(second, "rsa-2048"), Publishes(dane.Update), InDNS(TLSAOf("host"), TLSAOf("rsa-2048")),
		KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"a placeholder of a second pair is gone", Host(WantsSecond(), Names(second), Placeholders(second),
		Lost(second.CertFile), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"install tlsa-change: host-ecdsa.cert",
		"notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"the placeholder of a key is gone", Host(WantsSecond(), Names(second), Placeholders(second),
		Lost(second.KeyFile), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"unstage unfinished",
		"error sendmail-refuses, notice tlsa-change",
		"9m1s: the key may be changed", ""},
	{"the record of a first key was there for long enough", Host(WantsSecond(), Names(second), Placeholders(second),
		StagedFor(second, "rsa-2048"), Publishes(dane.Update), InDNS(TLSAOf("host"), TLSAOf("rsa-2048")),
		KeyChangeOf(second, dane.First, "rsa-2048", 61*time.Minute)),
		"obtain key-missing, new key",
		"notice tlsa-change, notice key-missing+, notice cert-missing+",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"the record of a first key was there for long enough, and there is a certificate", Host(WantsSecond(),
		Names(second), Placeholders(second), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 61*time.Minute),
		Issued("rsa-2048", 0)),
		"install key-missing: host-ecdsa.key, host-ecdsa.cert",
		"notice tlsa-change, notice key-missing+, notice cert-missing+",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"a member, and the record of a first key was there for long enough", Host(MemberOf("ca"), WantsSecond(),
		Names(second), Placeholders(second), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 61*time.Minute)),
		"ask key-missing, new key",
		"notice tlsa-change, notice key-missing, notice cert-missing",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"issuer none, and the record of a first key was there for long enough", Host(NoIssuer(), WantsSecond(),
		Names(second), Placeholders(second), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 61*time.Minute)),
		"",
		"notice tlsa-change, notice key-missing, notice cert-missing",
		"4m0s: ask the name servers for the TLSA records again", ""},
	{"a second pair is not configured any more while its first key waits", Host(Names(second), Placeholders(second),
		StagedFor(second, "rsa-2048"), Publishes(dane.Update), InDNS(TLSAOf("host"), TLSAOf("rsa-2048")),
		KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"unstage unfinished",
		"warning pair-unwanted",
		"1h0m0s: the TLSA record of the old key is removed", "dane"},
	{"neither configured nor named any more while its first key waits", Host(Placeholders(second),
		Publishes(dane.Update), InDNS(TLSAOf("host"))),
		"install pair-unwanted:remove host-ecdsa.cert, host-ecdsa.key",
		"notice pair-unwanted+",
		"141.1 days: renewal is due", ""},
	{"the first key waits, and a new one is asked for at once", Host(RekeyNow(), WantsSecond(), Names(second),
		Placeholders(second), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"stage-key asked-new-key ecdsa-p256; obtain asked-new-key, new key",
		"warning tlsa-change, notice tlsa-change, notice asked-new-key+, notice asked+",
		"9m1s: the key may be changed", ""},
	{"the first key waits, and is asked for at once", Host(Wish(func(w *plan.Wish) {
		w.Renew, w.Rekey, w.Now, w.Once, w.From, w.Others = true, true, true, true, "another",
			map[string]plan.Replaced{second.Name: {}}
	}), WantsSecond(), Names(second),
		Placeholders(second), StagedFor(second, "rsa-2048"), Publishes(dane.Update),
		InDNS(TLSAOf("host"), TLSAOf("rsa-2048")), KeyChangeOf(second, dane.First, "rsa-2048", 50*time.Minute)),
		"stage-key asked-new-key ecdsa-p256; obtain asked-new-key, new key; obtain key-missing, new key",
		"warning tlsa-change, warning tlsa-change, notice tlsa-change, notice asked-new-key+, notice key-missing+, " +
			"notice cert-missing+, notice asked-new-key+, notice asked+",
		"9m1s: the key may be changed", ""},
	{"the first key waits, and the state is lost", Host(WantsSecond(), Names(second), Placeholders(second),
		StagedFor(second, "rsa-2048"), Publishes(dane.Update), DNSNeverAsked()),
		"",
		"notice tlsa-change",
		"141.1 days: renewal is due", "dane"},
	{"the next key waits, and the state is lost", Host(Staged(), DNSNeverAsked()),
		"",
		"",
		"141.1 days: renewal is due", ""},
	{"the next key waits, the state is lost, and the DNS answers", Host(Staged(), InDNS(TLSAOf("host"),
		TLSAOf("staged")), NoKeyKnown()),
		"",
		"notice tlsa-change",
		"59m1s: the key may be changed", "dane"},
}

// A pair that a person brings waits as the first key does, which alone may be installed when its time has come.
func TestBroughtFirstKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		seen   time.Duration
		staged bool // it is the staged key
		wrong  bool
	}{
		{"another key", 61 * time.Minute, false, true},
		{"the first key, too early", 50 * time.Minute, true, true},
		{"the first key", 61 * time.Minute, true, false},
	} {
		w := Host(WantsSecond(), Names(second), Placeholders(second), StagedFor(second, "rsa-2048"),
			Publishes(dane.Update), InDNS(TLSAOf("host"), TLSAOf("rsa-2048")),
			KeyChangeOf(second, dane.First, "rsa-2048", c.seen))
		key := w.Seen.Staged[second.Name].Key.Public
		if !c.staged {
			key = w.Seen.Certs.Key.Key.Public
		}
		err := plan.TLSAObjection(w.Config, w.Seen, key, second, w.Now)
		if (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Where sendmail.cf does not name the pair, nobody sees its key yet.
	w := Host(WantsSecond(), Publishes(dane.Update), InDNS(TLSAOf("host")))
	if err := plan.TLSAObjection(w.Config, w.Seen, w.Seen.Certs.Key.Key.Public, second, w.Now); err != nil {
		t.Error(err)
	}
}
