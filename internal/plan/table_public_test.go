package plan_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// issuerRule is a rule of the access map for the CA of Public.
func issuerRule(value string) mta.AccessRule {
	c := Host(Public()).Seen.Certs.Cert.File.Certs[0]
	return mta.AccessRule{Line: 3, Tag: "CERTIssuer", Value: value,
		Key: strings.ToLower(mta.AccessKey(pki.OneLine(c.RawIssuer)))} // the case does not matter
}

// publicRows are about what a public certificate means for trust and the access map.
var publicRows = []row{
	{"the root of a public certificate is not trusted", Host(Public(), RootUnknown()),
		"",
		"notice wrong-purpose, notice root-untrusted",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the state is lost, and the file says that mailcertd ordered it", Host(Public(), OrderedFrom("letsencrypt"),
		Forgotten()),
		"ask renewal-ask",
		"notice wrong-purpose",
		"18.0 days: renewal is due",
		"ours"},
	{"the state is lost, and the file says that mailcertd ordered it elsewhere", Host(Public(),
		OrderedFrom("letsencrypt-staging"), Forgotten()),
		"ask issuer-changed",
		"warning issuer-changed",
		"18.0 days: renewal is due",
		"ours"},
	{"the state is lost, and the file says something else", Host(Public(), Seeing(func(o *plan.Observed) {
		o.Certs.Cert.File.Before = "ordered from letsencrypt\n"
	}), Forgotten()),
		"",
		"notice foreign-kept, notice wrong-purpose",
		"27.5 days: first warning before the certificate expires",
		""},
	{"cacert.pem has nothing but an intermediate that has expired", Host(Public(), OldIntermediate()),
		"install cacert-stale: cacert.pem, 861e18cb.0 and remove 68891a6f.0, a copy of cacert.pem",
		"warning cacert-stale+, warning link-wrong+, warning link-missing+, notice wrong-purpose, " +
			"notice root-untrusted",
		"21.0 days: renewal is due",
		""},
	{"cacert.pem has the root and an intermediate that has expired", Host(Public(), OldIntermediate("isrg")),
		"install trust-added: 1 CA in trust, extra",
		"warning trust-added+, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the access map names subjects", Host(Public(), AccessRules(mta.AccessRule{Line: 4, Tag: "CERTSubject",
		Key: "/CN=a.example", Value: "RELAY"}, issuerRule("SUBJECT"))),
		"",
		"notice wrong-purpose, notice access-subject",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the access map lets a public CA relay", Host(Public(), AccessRules(issuerRule("RELAY"))),
		"",
		"warning access-issuer, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the access map lets the private CA relay", Host(Public(), AccessRules(mta.AccessRule{Line: 4,
		Tag: "CERTIssuer", Key: "/O=Home/CN=mailcertd+20CA", Value: "RELAY"})),
		"",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the access map is one that cannot be looked into", Host(Public(), Seeing(func(o *plan.Observed) {
		o.Access = mta.AccessMap{Unseen: "it is of the class ldap"}
	})),
		"",
		"notice wrong-purpose, notice access-subject",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the access map cannot be read", Host(Public(), Seeing(func(o *plan.Observed) {
		o.Access = mta.AccessMap{Path: "/etc/mail/access", Err: syscall.EIO}
	})),
		"",
		"warning unreadable, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
}

// The line that makes a root trusted keeps what `trust:` has, and names the file or the word that is right for the CA.
func TestTrustLine(t *testing.T) {
	for _, c := range []struct {
		directory, caFile string
		trust             []string
		says              string
	}{
		{"letsencrypt", "", nil, "`trust: [system]`"},
		{"letsencrypt", "", []string{"/etc/corp.pem"}, "`trust: [/etc/corp.pem, system]`"},
		{"letsencrypt", "", []string{"system"}, "`trust: [system, FILE]`"},
		{"letsencrypt-staging", "", nil, "`trust: [FILE]`"},
		{"https://ca.home.example/acme/directory", "/etc/step/root.pem", []string{"system"},
			"`trust: [system, /etc/step/root.pem]`"},
		{"https://ca.home.example/acme/directory", "/etc/step/root.pem", []string{"/etc/step/root.pem"},
			"`trust: [/etc/step/root.pem, FILE]`"},
	} {
		w := Host(Public(), RootUnknown(), Configured(func(cfg *config.Config) {
			cfg.Issuer.ACME.Directory, cfg.Issuer.ACME.CAFile, cfg.Trust = c.directory, c.caFile, c.trust
		}), onDirectory(c.directory))
		said := ""
		for _, pr := range w.Plan().Problems {
			if pr.Reason == plan.RootUntrusted {
				said = pr.Text + ": " + pr.Hint
			}
		}
		if !strings.Contains(said, c.says) || !strings.Contains(said, "CN=Root X1") {
			t.Errorf("%+v: %q", c, said)
		}
	}
}

// onDirectory has the certificate be one of that directory.
func onDirectory(name string) Fact {
	return Remembers(func(s *state.State) {
		m := s.ACME["host"]
		m.Directory, m.SentBy = name, name
		s.ACME["host"] = m
	})
}

// A leaf with an empty subject is no error in any row, and its name is that of its SAN.
func TestEmptySubject(t *testing.T) {
	w := Host(Public(), LivesFor(90*Day, 20*Day), Window(5*time.Hour))
	leaf := w.Seen.Certs.Cert.File.Certs[0]
	if leaf.Subject.String() != "" || len(leaf.Subject.Names) != 0 {
		t.Fatalf("its subject is %q", leaf.Subject)
	}
	p := w.Plan()
	if p.Worst() == plan.Error || p.Facts.Owner != plan.Ours || !p.Facts.Works || p.Facts.Name != Name {
		t.Errorf("%+v %+v", p.Problems, p.Facts)
	}
	if names := plan.CertNames(leaf); len(names) != 1 || names[0] != Name {
		t.Errorf("names %q", names)
	}
}

// What is installed of an ACME CA says that mailcertd has ordered it, and is read again as ours.
func TestOrderLine(t *testing.T) {
	p := Host(ACME(), Interim(), Ordered("host", 0, Name)).Plan()
	for _, f := range p.Actions[0].Change.Files {
		if f.Name != "host.cert" {
			continue
		}
		read := pki.ReadLeafFile(f.Data)
		if read.Err != nil || read.Behind != nil || len(read.Certs) != 2 ||
			read.Before != plan.OrderLine("letsencrypt") {
			t.Errorf("%+v", read)
		}
		return
	}
	t.Error("no certificate is installed")
}
