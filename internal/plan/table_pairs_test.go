package plan_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

var second, client = certdir.HostECDSA, certdir.Client

// pairRows are about the pairs other than the host's own: a second server pair and the client pair.
var pairRows = []row{
	{"a second pair is asked for", Host(WantsSecond(), Names(second)),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair is asked for, and sendmail.cf does not name it", Host(WantsSecond()),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair, whose key is made", Host(WantsSecond(), StagedFor(second, "rsa-2048")),
		"obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair, whose certificate is issued", Host(WantsSecond(), StagedFor(second, "rsa-2048"), Issued("rsa-2048",
		0)),
		"install key-missing: host-ecdsa.key, host-ecdsa.cert",
		"error key-missing+, error cert-missing+, warning cf-other-files",
		"141.1 days: renewal is due", ""},
	{"a second pair is there", Host(WantsSecond(), Names(second), Has(second, "rsa-2048")),
		"",
		"",
		"140.2 days: renewal is due", ""},
	{"a second pair with a third of the life left", Host(WantsSecond(), Names(second), Has(second, "rsa-2048",
		ExpiresIn(100*Day))),
		"obtain renewal-due",
		"notice renewal-due+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair with a third of the life left, and its certificate is issued", Host(WantsSecond(), Names(second),
		Has(second, "rsa-2048", ExpiresIn(100*Day)), Issued("rsa-2048", 0)),
		"install renewal-due: host-ecdsa.cert, a copy of host-ecdsa.cert",
		"notice renewal-due+",
		"141.1 days: renewal is due", ""},
	{"both pairs with a third of the life left, and both are issued", Host(WantsSecond(), Names(second),
		ExpiresIn(100*Day),
		Has(second, "rsa-2048"), Issued("rsa-2048", 0), Issued("host", 0)),
		"install renewal-due: host.cert, host-ecdsa.cert, a copy of host.cert, a copy of host-ecdsa.cert",
		"notice renewal-due+, notice renewal-due+",
		"2033.3 days: the CA's next generation is due", ""},
	{"both pairs with a third of the life left, and one is issued",
		Host(WantsSecond(), Names(second), ExpiresIn(100*Day),
			Has(second, "rsa-2048"), Issued("host", 0)),
		"obtain renewal-due",
		"notice renewal-due+, notice renewal-due+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair that could not be issued", Host(WantsSecond(), StagedFor(second, "rsa-2048"),
		Failed(plan.ObtainFailureOf(second), 2, 20*time.Minute)),
		"",
		"error key-missing, error cert-missing, error no-issuer, warning cf-other-files",
		"20m0s: ask the issuer again", ""},
	{"a second pair whose key could not be staged", Host(WantsSecond(), Names(second),
		Failed("do stage-key /etc/mail/certs/host-ecdsa.key", 2, 20*time.Minute)),
		"",
		"error key-missing, error cert-missing, error step-failed",
		"20m0s: a failed step is tried again", ""},
	{"a second pair that could not be issued, and sendmail.cf names it", Host(WantsSecond(), Names(second),
		StagedFor(second, "rsa-2048"),
		Failed(plan.ObtainFailureOf(second), 2, 20*time.Minute)),
		"install key-missing: host-ecdsa.key, host-ecdsa.cert",
		"error key-missing+, error cert-missing+, error no-issuer, error no-issuer",
		"20m0s: ask the issuer again", ""},
	{"a second pair without its certificate", Host(WantsSecond(), Names(second), Has(second, "rsa-2048"),
		Lost("host-ecdsa.cert")),
		"install cert-missing: host-ecdsa.cert",
		"error cert-missing+",
		"141.1 days: renewal is due", ""},
	{"a second pair without its key", Host(WantsSecond(), Names(second), Has(second, "rsa-2048"),
		Lost("host-ecdsa.key")),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair with the key type of the first", Host(WantsSecond(), Names(second), Has(second, "second")),
		"stage-key key-family rsa-2048; obtain key-family, new key",
		"error key-family+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair of the kind that the host's key has", Host(WantsSecond(), Key("rsa-2048")),
		"stage-key key-missing ecdsa-p256; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files",
		"2033.3 days: the CA's next generation is due", ""},
	{"each pair has the type of the other", Host(WantsSecond(), Names(second), Key("rsa-2048"), Has(second, "second")),
		"",
		"",
		"139.3 days: renewal is due", ""},
	{"each pair has the type of the other, with a third of the life left", Host(WantsSecond(), Names(second),
		Key("rsa-2048"), Has(second, "second", ExpiresIn(100*Day))),
		"obtain renewal-due",
		"notice renewal-due+",
		"2033.3 days: the CA's next generation is due", ""},
	{"each pair has the type of the other, and new keys are asked for",
		Host(WantsSecond(), Names(second), Key("rsa-2048"),
			Has(second, "second"), Rekey()),
		"stage-key asked-new-key ecdsa-p256; stage-key key-family rsa-2048; obtain asked-new-key, new " +
			"key; obtain key-family, new key",
		"notice asked-new-key+, notice asked+, notice key-family+",
		"2033.3 days: the CA's next generation is due", ""},
	{"each pair has the type of the other, new keys are asked for, and one is issued",
		Host(WantsSecond(), Names(second),
			Key("rsa-2048"), Has(second, "second"), Rekey(), StagedFor(certdir.Host, "new"), Issued("new", 0)),
		"stage-key key-family rsa-2048; obtain key-family, new key",
		"notice asked-new-key+, notice asked+, notice key-family+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a member whose pairs have each other's type, new keys are asked for, and one is issued", Host(MemberOf("krb5"),
		WantsSecond(), Names(second), Key("rsa-2048"), Has(second, "second"), Rekey(), StagedFor(certdir.Host, "new"),
		Issued("new", 0)),
		"stage-key key-family rsa-2048",
		"notice asked-new-key+, notice asked+, notice key-family",
		"22h0m0s: ask krb5 which CAs to trust", "ours"},
	{"each pair has the type of the other, the host's key is lost, and its CA is locked", Host(WantsSecond(),
		Names(second), Key("rsa-2048"), Has(second, "second"), Lost("host.key"), Locked()),
		"stage-key key-missing rsa-2048; install key-missing: host.key, host.cert, a copy of host.cert, " +
			"self-signed",
		"error key-missing+, error no-issuer, warning ca-locked",
		"139.3 days: renewal is due", ""},
	{"a key of the host's new kind was staged, and the second pair's was not", Host(WantsSecond(), Names(second),
		Key("rsa-2048"), Has(second, "second"), StagedFor(certdir.Host, "new"), Issued("new", 0)),
		"stage-key key-family rsa-2048; obtain key-family, new key",
		"warning unfinished+, notice key-family+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a bought certificate of the kind that the second pair has", Host(WantsSecond(), Names(second), Bought(),
		Key("rsa-2048"), Has(second, "rsa-2048", Ours())),
		"stage-key key-family ecdsa-p256; obtain key-family, new key",
		"error key-family+, warning trust-missing+, warning link-missing+, notice foreign-kept",
		"2033.3 days: the CA's next generation is due", ""},
	{"a second pair that is no longer configured, and the host gets a key of its kind", Host(
		Configured(func(c *config.Config) { c.Key.Type, c.Key.TypeSet = "rsa-2048", true }), Names(second),
		Has(second, "rsa-2048"), Rekey()),
		"stage-key asked-new-key rsa-2048; stage-key key-family ecdsa-p256; obtain asked-new-key, new " +
			"key; obtain key-family, new key",
		"notice asked-new-key+, notice asked+, notice pair-unwanted, notice key-family+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a bought second pair", Host(WantsSecond(), Names(second), Has(second, "rsa-2048", Bought())),
		"",
		"notice foreign-kept",
		"141.1 days: renewal is due", ""},
	{"a bought second pair that nobody asks for", Host(Names(second), Has(second, "rsa-2048", Bought())),
		"",
		"notice pair-unwanted",
		"141.1 days: renewal is due", ""},
	{"a second pair that is no longer configured", Host(Has(second, "rsa-2048")),
		"install pair-unwanted:remove host-ecdsa.cert, host-ecdsa.key, a copy of host-ecdsa.cert, " +
			"a copy of host-ecdsa.key",
		"notice pair-unwanted+",
		"141.1 days: renewal is due", ""},
	{"a second pair that is no longer configured, and sendmail.cf names it", Host(Names(second), Has(second, "rsa-2048",
		ExpiresIn(100*Day))),
		"obtain renewal-due",
		"notice pair-unwanted, notice renewal-due+",
		"2033.3 days: the CA's next generation is due", ""},
	{"a staged key of a pair that nobody asks for", Host(StagedFor(second, "rsa-2048")),
		"unstage unfinished",
		"",
		"141.1 days: renewal is due", ""},
	{"a client pair is asked for", Host(WantsClient()),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files, warning cf-other-files",
		"2033.3 days: the CA's next generation is due", ""},
	{"a client pair is there, and sendmail.cf names it", Host(WantsClient(), Names(client), Has(client, "client")),
		"",
		"",
		"139.4 days: renewal is due", ""},
	{"a client pair with a third of the life left", Host(WantsClient(), Names(client), Has(client, "client",
		ExpiresIn(100*Day)), Issued("client", 0)),
		"install renewal-due: client.cert, a copy of client.cert",
		"notice renewal-due+",
		"141.1 days: renewal is due", ""},
	{"a client pair beside a bought certificate", Host(WantsClient(), Bought(), StagedFor(client, "client")),
		"obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files, warning cf-other-files, " +
			"warning trust-missing+, warning link-missing+, notice foreign-kept",
		"2033.3 days: the CA's next generation is due", ""},
	{"the first boot of a host with all pairs", Host(EmptyDisk(), WantsSecond(), WantsClient()),
		"make-ca ca-make; stage-key key-missing ecdsa-p256; stage-key key-missing rsa-2048; " +
			"stage-key key-missing ecdsa-p256; obtain key-missing, new key; obtain key-missing, new key; " +
			"obtain key-missing, new key",
		"error key-missing+, error cert-missing+, error key-missing+, error cert-missing+, " +
			"error key-missing+, error cert-missing+, error cacert-missing+, warning cf-other-files, " +
			"warning cf-other-files, warning cf-other-files, warning dh-missing+",
		"", "clock, high_water"},
	{"a bought certificate for servers only, and the client shows another",
		Host(WantsClient(), Names(client), Bought(),
			Usage(x509.ExtKeyUsageServerAuth), Has(client, "client", Ours())),
		"install trust-missing: trust/mailcertd-ca.pem, e5cedbc3.0, extra",
		"warning trust-missing+, warning link-missing+, notice foreign-kept",
		"139.4 days: renewal is due", ""},
	{"a bought certificate for servers only, and the client shows none", Host(Bought(),
		Usage(x509.ExtKeyUsageServerAuth), ShowsNothing()),
		"",
		"notice cf-other-files, notice foreign-kept",
		"235.0 days: first warning before the certificate expires", ""},
	{"a bought client certificate for servers only",
		Host(WantsClient(), Names(client), Has(client, "client", Bought(),
			Usage(x509.ExtKeyUsageServerAuth))),
		"",
		"notice foreign-kept, notice wrong-purpose",
		"141.1 days: renewal is due", ""},
	{"a certificate of ours for servers only, and the client has its own", Host(WantsClient(), Names(client),
		Usage(x509.ExtKeyUsageServerAuth), Has(client, "client", Ours())),
		"",
		"",
		"139.4 days: renewal is due", ""},
	{"a second pair that is no longer configured, and sendmail has read an older sendmail.cf", Host(Has(second,
		"rsa-2048"), Seeing(func(o *plan.Observed) { o.CF.Node.Changed = Now.Add(-time.Hour) })),
		"",
		"notice pair-unwanted",
		"141.1 days: renewal is due", ""},
}

// A person who has put a second pair there whose key is of the same kind as host.key is told what to do: sendmail
// completes no handshake until then.
func TestTwinIsToldWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name  string
		given World
		says  string
	}{
		{"asked for", Host(WantsSecond(), Names(second), Has(second, "second", Bought())), "mailcertd then makes"},
		{"not asked for", Host(Names(second), Has(second, "second", Bought())), "confSERVER_CERT"},
	} {
		told := false
		for _, pr := range c.given.Plan().Problems {
			if pr.Reason != plan.Refused {
				continue
			}
			told = true
			if pr.Severity != plan.Error || !strings.Contains(pr.Hint, "host-ecdsa.key and ") ||
				!strings.Contains(pr.Hint, c.says) {
				t.Errorf("%s: %v %s\nhint: %s", c.name, pr.Severity, pr.Text, pr.Hint)
			}
		}
		if !told {
			t.Errorf("%s: there is no problem that says what to do", c.name)
		}
	}
}
