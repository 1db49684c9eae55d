package plan_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dane"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// For each kind of file that a person installs with `mailcertd install`: the files that are installed, the CAs that are
// accepted, and the notes or the error.
func TestTake(t *testing.T) {
	here, bought, recorded := Host(), Host(Bought()), Host(InDNS(TLSAOf("host")))
	leaf := func(w World) *x509.Certificate { return w.Seen.Certs.Cert.File.Certs[0] }
	root := func(w World) []*x509.Certificate { return w.Seen.Certs.CA.File.Certs }
	key := here.Seen.Certs.Key.Key.Public
	other := Host(Key("stranger"))
	two := Host(WantsSecond(), Has(second, "rsa-2048"))
	client := Host(WantsClient(), Has(certdir.Client, "staged"))
	clients := Host(Key("stranger"), Usage(x509.ExtKeyUsageClientAuth))
	rsa, same := Host(Key("staged")), Host(Key("stranger"))
	for _, c := range []struct {
		name    string
		at      World
		carried plan.Carried
		force   bool
		files   string
		accepts int
		says    string // in a note, or in the error
		fails   bool
	}{
		{"the installed certificate", here, plan.Carried{Leaf: leaf(here)}, false, "", 0, "", false},
		{"a bought one over our key, with its CA", here, plan.Carried{Leaf: leaf(bought), Roots: root(bought)}, false,
			"host.cert cacert.pem", 0, "", false},
		{"a bought one with its intermediate certificate", here,
			plan.Carried{Leaf: leaf(bought), Middle: root(bought)}, false, "host.cert", 0, "", false},
		{"a bought one without its CA", here, plan.Carried{Leaf: leaf(bought)}, false, "", 0,
			"which is neither in the file nor known on this host", true},
		{"a bought one without its CA, by force", here, plan.Carried{Leaf: leaf(bought)}, true, "host.cert", 0,
			"add the chain", false},
		{"with a key of its own", here, plan.Carried{Leaf: leaf(other), Key: other.Seen.Certs.Key.Key.Public}, false,
			"host.key host.cert", 0, "", false},
		{"with another key", here, plan.Carried{Leaf: leaf(other), Key: key}, false, "", 0,
			"do not belong together", true},
		{"for a key that is not here", here, plan.Carried{Leaf: leaf(other)}, false, "", 0,
			"make a new request on this host", true},
		{"for the staged key", Host(Staged()), plan.Carried{Leaf: leaf(Host(Key("staged")))}, false,
			"host.key host.cert",
			0, "", false},
		{"with a key of its own, and there are TLSA records", recorded, plan.Carried{Leaf: leaf(other),
			Key: other.Seen.Certs.Key.Key.Public}, false, "", 0, "there are TLSA records", true},
		{"with a key of its own, by force, and there are TLSA records", recorded, plan.Carried{Leaf: leaf(other),
			Key: other.Seen.Certs.Key.Key.Public}, true, "host.key host.cert", 0, "there are TLSA records", false},
		{"with a key of its own, whose TLSA record is new", Host(InDNS(TLSAOf("host"), TLSAOf("stranger")),
			Known("stranger", time.Minute)), plan.Carried{Leaf: leaf(other), Key: other.Seen.Certs.Key.Key.Public},
			false, "", 0, "there are TLSA records", true},
		{"with a key of its own, whose TLSA record is known", Host(InDNS(TLSAOf("host"), TLSAOf("stranger")),
			Known("stranger", 61*time.Minute)), plan.Carried{Leaf: leaf(other), Key: other.Seen.Certs.Key.Key.Public},
			false, "host.key host.cert", 0, "", false},
		{"over our key, and there are TLSA records", recorded, plan.Carried{Leaf: leaf(bought), Roots: root(bought)},
			false, "host.cert cacert.pem", 0, "", false},
		{"for the staged key, whose TLSA record is new", Host(Publishes(dane.Manual), Staged(),
			InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", time.Minute)),
			plan.Carried{Leaf: leaf(Host(Key("staged")))}, false, "", 0, "there are TLSA records", true},
		{"for the staged key, whose TLSA record is known", Host(Publishes(dane.Manual), Staged(),
			InDNS(TLSAOf("host"), TLSAOf("staged")), KeyChange(dane.Asked, "staged", 61*time.Minute)),
			plan.Carried{Leaf: leaf(Host(Key("staged")))}, false, "host.key host.cert", 0, "", false},
		{"for another name", here, plan.Carried{Leaf: leaf(Host(IsFor("www.home.example")))}, false, "", 0,
			"is for www.home.example", true},
		{"without a SAN", here, plan.Carried{Leaf: leaf(Host(WithoutSAN()))}, false, "host.cert", 0, "only in the CN",
			false},
		{"for servers alone", here, plan.Carried{Leaf: leaf(Host(Usage(x509.ExtKeyUsageServerAuth)))},
			false, "host.cert",
			0, "not for clients", false},
		{"for clients alone", here, plan.Carried{Leaf: leaf(Host(Usage(x509.ExtKeyUsageClientAuth)))}, false, "", 0,
			"not for servers", true},
		{"expired", here, plan.Carried{Leaf: leaf(Host(ExpiresIn(-Day)))}, false, "", 0, "expired on", true},
		{"not valid yet", here, plan.Carried{Leaf: leaf(Host(BeginsIn(Day)))}, false, "", 0,
			"is not valid before", true},
		{"self-signed", here, plan.Carried{Leaf: leaf(Host(Interim()))}, false, "host.cert", 0,
			"is self-signed", false},
		{"weak", here, plan.Carried{Leaf: leaf(Host(Key("rsa-1024"))),
			Key: Host(Key("rsa-1024")).Seen.Certs.Key.Key.Public}, false, "", 0, "too weak", true},
		{"where cacert.pem is a link", Host(CAFileIsLink()),
			plan.Carried{Leaf: leaf(bought), Roots: root(bought)}, false,
			"host.cert trust/installed.pem", 0, "", false},
		{"where cacert.pem is missing", Host(NoCAFile()), plan.Carried{Leaf: leaf(bought), Middle: root(bought)}, false,
			"host.cert cacert.pem", 0, "", false},
		{"a key of the second pair's kind", two,
			plan.Carried{Leaf: leaf(rsa), Key: rsa.Seen.Certs.Key.Key.Public}, false,
			"host-ecdsa.key host-ecdsa.cert", 0,
			"becomes the second pair, host-ecdsa.cert, because its key is rsa-2048", false},
		{"over the second pair's key", two, plan.Carried{Leaf: leaf(Host(Key("rsa-2048"), ExpiresIn(300*Day)))}, false,
			"host-ecdsa.cert", 0, "becomes the second pair", false},
		{"a key of the host's own kind, beside a second pair", two,
			plan.Carried{Leaf: leaf(same), Key: same.Seen.Certs.Key.Key.Public}, false, "host.key host.cert",
			0, "", false},
		{"a key of another kind, and no second pair is asked for", here,
			plan.Carried{Leaf: leaf(rsa), Key: rsa.Seen.Certs.Key.Key.Public}, false, "host.key host.cert",
			0, "", false},
		{"over the client's key", client, plan.Carried{Leaf: leaf(Host(Key("staged"), ExpiresIn(300*Day)))}, false,
			"client.cert", 0, "becomes that of the client pair, client.cert", false},
		{"over the client's key, for clients alone", client,
			plan.Carried{Leaf: leaf(Host(Key("staged"), Usage(x509.ExtKeyUsageClientAuth)))}, false, "client.cert", 0,
			"client pair", false},
		{"over the client's key, for servers alone", client,
			plan.Carried{Leaf: leaf(Host(Key("staged"), Usage(x509.ExtKeyUsageServerAuth)))}, false, "", 0,
			"not for clients", true},
		{"over the staged key of the client", Host(WantsClient(), StagedFor(certdir.Client, "staged")),
			plan.Carried{Leaf: leaf(rsa)}, false, "client.key client.cert", 0, "client pair", false},
		{"for clients alone, with its key", client,
			plan.Carried{Leaf: leaf(clients), Key: clients.Seen.Certs.Key.Key.Public}, false,
			"client.key client.cert", 0, "client pair", false},
		{"for clients alone, and no client pair is asked for", here,
			plan.Carried{Leaf: leaf(clients), Key: clients.Seen.Certs.Key.Key.Public}, false, "", 0,
			"not for servers", true},
		{"for no key that is here, with a client pair", client, plan.Carried{Leaf: leaf(other)}, false, "", 0,
			"host.key or /etc/mail/certs/client.key", true},
		{"CAs alone", here, plan.Carried{Roots: root(bought)}, false, "", 0, "contains no host certificate", true},
		{"CAs alone, on a member", Host(MemberOf("ca.home.example")), plan.Carried{Roots: root(bought)},
			false, "", 2, "",
			false},
		{"CAs that are known, on a member", Host(MemberOf("ca.home.example")),
			plan.Carried{Roots: root(here)}, false, "",
			0, "", false},
	} {
		got, err := plan.Take(c.at.Config, c.at.Seen, c.carried, certdir.Pair{}, c.force, c.at.Now)
		var files []string
		for _, f := range got.Change.Files {
			files = append(files, f.Name)
			if f.Name == "host.key" && f.Data != nil {
				t.Errorf("%s: there is a secret in the plan", c.name)
			}
		}
		said := strings.Join(got.Notes, "; ")
		if err != nil {
			said += err.Error()
		}
		if f := strings.Join(files, " "); f != c.files || len(got.Accept) != c.accepts || (err != nil) != c.fails ||
			!strings.Contains(said, c.says) {
			t.Errorf("%s: files %q, %d accepted, %q, %v", c.name, f, len(got.Accept), said, err)
		}
	}
}

// A person names the pair that a file with a key of its own becomes.
func TestTakeAsPair(t *testing.T) {
	full := Host(WantsSecond(), Has(second, "rsa-2048"), WantsClient(), Has(certdir.Client, "staged"))
	two, rsa := Host(WantsSecond(), Has(second, "rsa-2048")), Host(Key("staged"))
	leaf := func(w World) *x509.Certificate { return w.Seen.Certs.Cert.File.Certs[0] }
	brings := func(w World) plan.Carried {
		return plan.Carried{Leaf: leaf(w), Key: w.Seen.Certs.Key.Key.Public}
	}
	fresh := Host(Key("stranger"))
	for _, c := range []struct {
		name    string
		at      World
		carried plan.Carried
		pair    certdir.Pair
		files   string
		says    string // in the error
	}{
		{"fit for both, as the client pair", full, brings(fresh), certdir.Client, "client.key client.cert", ""},
		{"fit for both, as the host's own pair", full, brings(fresh), certdir.Host, "host.key host.cert", ""},
		{"over the client's key", full, plan.Carried{Leaf: leaf(Host(Key("staged"), ExpiresIn(300*Day)))},
			certdir.Client, "client.cert", ""},
		{"of the host's kind, as the second pair", full, brings(fresh), second, "", "bring one of the other kind"},
		{"of the second pair's kind, as the host's own pair", two, brings(rsa), certdir.Host, "",
			"bring one of the other kind"},
		{"of the second pair's kind", two, brings(rsa), second, "host-ecdsa.key host-ecdsa.cert", ""},
		{"over the host's key, as the client pair", full, brings(Host()), certdir.Client, "",
			"its key is that of the host pair"},
		{"for servers alone, as the client pair", full,
			brings(Host(Key("stranger"), Usage(x509.ExtKeyUsageServerAuth))), certdir.Client, "", "not for clients"},
		{"for no key that is here", full, plan.Carried{Leaf: leaf(fresh)}, certdir.Client, "",
			"in /etc/mail/certs/client.key: make a new request on this host with `mailcertd request --pair client`"},
		{"as a pair that nobody asks for", Host(), brings(fresh), certdir.Client, "", "asks for no client pair"},
		{"CAs alone", Host(MemberOf("ca.home.example")),
			plan.Carried{Roots: Host(Bought()).Seen.Certs.CA.File.Certs}, certdir.Host, "", "leave out --pair"},
	} {
		got, err := plan.Take(c.at.Config, c.at.Seen, c.carried, c.pair, false, c.at.Now)
		var files []string
		for _, f := range got.Change.Files {
			files = append(files, f.Name)
		}
		if f := strings.Join(files, " "); f != c.files || (err != nil) != (c.says != "") ||
			err != nil && !strings.Contains(err.Error(), c.says) || len(got.Notes) > 0 {
			t.Errorf("%s: files %q, notes %q, %v", c.name, f, got.Notes, err)
		}
	}
}
