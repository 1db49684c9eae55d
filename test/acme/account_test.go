package acme

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
	"mailcertd/test/bed"

	acmez "github.com/mholt/acmez/v3/acme"
)

func TestTerms(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	o.AgreeTOS = false
	refused(t, o, request(t, "mx.example.test"), issuer.KindTOS, true, "data:text/plain,Do%20what%20thou",
		"agree_tos")
	if p.Accounts() != 0 {
		t.Errorf("%d accounts", p.Accounts())
	}
}

// TestExternalAccount: an account binding that is missing, wrong or right. No part of the HMAC key is in an error.
func TestExternalAccount(t *testing.T) {
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	hmac, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, settings{conf: map[string]any{"externalAccountBindingRequired": true,
		"externalAccountMACKeys": map[string]string{"kid-1": mac}}})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	refused(t, o, r, issuer.KindEAB, true, "set issuer.acme.eab")
	o.EAB = acme.EAB{KID: "kid-9", HMAC: hmac}
	refused(t, o, r, issuer.KindEAB, true, "not known to the ACME server")
	o.EAB = acme.EAB{KID: "kid-1", HMAC: []byte("guessed-guessed-guessed-guessed-")}
	if no := refused(t, o, r, issuer.KindEAB, true, "verification"); strings.Contains(no.Reason, "guessed") {
		t.Errorf("the key is in %q", no.Reason)
	}
	o.EAB = acme.EAB{KID: "kid-1", HMAC: hmac}
	obtain(t, o, r)
	o.EAB = acme.EAB{} // an account that exists needs no binding
	obtain(t, o, request(t, "mx.example.test"))
	if p.Accounts() != 1 || p.Orders() != 2 {
		t.Errorf("%d accounts, %d orders", p.Accounts(), p.Orders())
	}
}

// TestAccountLost: a key whose account URL was lost finds its account again, a CA that has lost all accounts gets an
// account for the same key, and changed contacts are sent.
func TestAccountLost(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	obtain(t, o, request(t, "mx.example.test"))
	before, err := client(t, o).Account()
	if err != nil || before.URL == "" || before.Profile != "default" || before.Directory != o.Directory {
		t.Fatalf("%+v, %v", before, err)
	}
	forget(store, ".account")
	o.Contact = []string{"postmaster@example.test"}
	obtain(t, o, request(t, "mx.example.test"))
	after, err := client(t, o).Account()
	if err != nil || after.URL != before.URL || p.Accounts() != 1 {
		t.Errorf("%+v, %v: %d accounts", after, err, p.Accounts())
	}
	o.Contact = append(o.Contact, "hostmaster@example.test")
	obtain(t, o, request(t, "mx.example.test"))
	if after, err = client(t, o).Account(); err != nil || !slices.Equal(after.Contact, o.Contact) {
		t.Errorf("%+v, %v", after, err)
	}
	other := start(t, settings{}) // the same URL, but the CA has lost everything
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		other.front.Server.Config.Handler.ServeHTTP(w, r)
		return true
	}, nil)
	o.Listener.Listen = bed.Local(other.HTTPPort)
	obtain(t, o, request(t, "mx.example.test"))
	if other.Accounts() != 1 || other.Orders() != 1 {
		t.Errorf("%d accounts, %d orders", other.Accounts(), other.Orders())
	}
}

func forget(m *memory, suffix string) {
	for name := range m.files {
		if strings.HasSuffix(name, suffix) {
			delete(m.files, name)
		}
	}
}

func TestDeactivated(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	obtain(t, o, request(t, "mx.example.test"))
	a, err := client(t, o).Account()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range store.files {
		if !strings.HasSuffix(name, ".key") {
			continue
		}
		key, err := pki.ParseKey(data)
		if err != nil {
			t.Fatal(err)
		}
		c := acmez.Client{Directory: o.Directory, HTTPClient: p.front.Server.Client()}
		if _, err := c.UpdateAccount(context.Background(), acmez.Account{PrivateKey: key, Location: a.URL,
			Status: "deactivated"}); err != nil && !strings.Contains(err.Error(), "deactivated") {
			t.Fatal(err)
		}
	}
	refused(t, o, request(t, "mx.example.test"), issuer.KindAccount, true, "deactivated", ".key")
	forget(store, ".account")
	refused(t, o, request(t, "mx.example.test"), issuer.KindAccount, true, "deactivated", ".key")
	if p.Accounts() != 1 {
		t.Errorf("%d accounts", p.Accounts())
	}
}

// TestNoncesRejected: the CA rejects two of three nonces, and the certificate still comes, only later.
func TestNoncesRejected(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_WFE_NONCEREJECT=50"}})
	obtain(t, p.options(newMemory()), request(t, "mx.example.test"))
	if p.Accounts() != 1 || p.Orders() != 1 {
		t.Errorf("%d accounts, %d orders", p.Accounts(), p.Orders())
	}
	all := start(t, settings{env: []string{"PEBBLE_WFE_NONCEREJECT=100"}})
	refused(t, all.options(newMemory()), request(t, "mx.example.test"), issuer.KindAway, false, "badNonce")
}

// TestReusedAuthorizations: where the CA still accepts earlier proofs, mailcertd does not listen.
func TestReusedAuthorizations(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_AUTHZREUSE=100"}})
	o := p.options(newMemory())
	obtain(t, o, request(t, "mx.example.test"))
	o.Listener.Listen = "192.0.2.1:80" // listening there would fail
	obtain(t, o, request(t, "mx.example.test"))
}

// TestProfile: a profile that the CA does not offer is refused before an order is placed.
func TestProfile(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	o.Profile = "shortlived"
	if r := obtain(t, o, request(t, "mx.example.test")); r.Leaf.NotAfter.Sub(r.Leaf.NotBefore) > 7*24*time.Hour {
		t.Errorf("valid until %s", r.Leaf.NotAfter)
	}
	o.Profile = "tlsserver"
	refused(t, o, request(t, "mx.example.test"), issuer.KindOrder, true, "tlsserver", "default, shortlived")
	o.Profile = "" // Pebble chooses
	obtain(t, o, request(t, "mx.example.test"))
	if p.Orders() != 2 {
		t.Errorf("%d orders", p.Orders())
	}
	refused(t, o, request(t, "blocked-domain.example"), issuer.KindOrder, true, "blocked-domain.example")
}

// TestNoSecrets: no error, log line or step contains the account key, and only the key's own file has it.
func TestNoSecrets(t *testing.T) {
	p := start(t, settings{})
	store := newMemory()
	o := p.options(store)
	var said strings.Builder
	o.Log, o.Progress = func(s string) { said.WriteString(s) }, func(s string) { said.WriteString(s) }
	obtain(t, o, request(t, "mx.example.test"))
	for name, data := range store.files {
		if bytes.Contains(data, []byte("PRIVATE KEY")) != strings.HasSuffix(name, ".key") {
			t.Errorf("%s: %s", name, data)
		}
	}
	if strings.Contains(said.String(), "PRIVATE KEY") {
		t.Error(said.String())
	}
}
