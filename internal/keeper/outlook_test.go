package keeper

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// offers is a directory with that meta, and what it was asked for.
func offers(t *testing.T, meta map[string]any, clock time.Time) (dir, caFile string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Date", clock.UTC().Format(http.TimeFormat))
		_ = json.NewEncoder(w).Encode(map[string]any{"newNonce": s.URL + "/n", "newAccount": s.URL + "/a",
			"newOrder": s.URL + "/o", "meta": meta})
	}))
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return s.URL + "/dir", caFile, asked
}

// strangeCA writes the certificate of a CA that has nothing to do with the directory.
func strangeCA(t *testing.T) string {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// deaf takes questions and gives no answer.
func deaf(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String()
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	c, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.Addr().String()
}

// checked is what a check with these settings of issuer.acme finds out. Nothing is made below root.
func checked(t *testing.T, set func(*config.Config)) *plan.Outlook {
	t.Helper()
	root := t.TempDir()
	cfg := config.Default(root)
	cfg.Issuer.Kind = config.IssuerACME
	cfg.Issuer.ACME.AgreeTOS, cfg.Issuer.ACME.Challenge = true, config.ChallengeHTTP
	cfg.Issuer.ACME.HTTP.Listen = "127.0.0.1:0"
	cfg.Host.Name = "mail.example.test"
	set(&cfg)
	k := New(Options{Config: cfg, Disk: &durable.Disk{}, Now: time.Now, UID: uint32(os.Geteuid()),
		Host: func(context.Context) plan.Host { return plan.Host{} }})
	begun := time.Now()
	r := k.Examine(context.Background(), plan.Wish{Once: true})
	if took := time.Since(begun); took > outlookIn+2*time.Second {
		t.Errorf("it took %s", took)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("made: %v %v", left, err)
	}
	if r.Observed.Outlook == nil {
		t.Fatal("nothing was found out")
	}
	return r.Observed.Outlook
}

// A check asks the directory once for what it offers, and orders nothing.
func TestOutlookOfTheDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		meta    map[string]any
		ahead   time.Duration
		profile string
		without bool // no ca_file
		says    string
	}{
		"fine":               {},
		"for customers":      {meta: map[string]any{"externalAccountRequired": true}, says: "only for its customers"},
		"no such profile":    {profile: "short", says: "does not offer the profile short"},
		"another clock":      {ahead: 3 * time.Hour},
		"nobody vouches":     {without: true, says: "ca_file"},
		"a file of nonsense": {says: "contains no certificate"},
		"an empty file":      {says: "contains no certificate"},
		"another CA":         {says: "does not have the root"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, caFile, asked := offers(t, c.meta, time.Now().Add(c.ahead))
			if name == "a file of nonsense" {
				if err := os.WriteFile(caFile, []byte("nonsense"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if name == "an empty file" {
				if err := os.Truncate(caFile, 0); err != nil {
					t.Fatal(err)
				}
			}
			if name == "another CA" {
				caFile = strangeCA(t)
			}
			o := checked(t, func(cfg *config.Config) {
				a := &cfg.Issuer.ACME
				a.Directory, a.CAFile, a.Profile = dir, caFile, c.profile
				if c.without {
					a.CAFile = ""
				}
				cfg.DNS.Resolver = closed(t)
			})
			if (o.Directory == nil) != (c.says == "") ||
				o.Directory != nil && !strings.Contains(o.Directory.Error(), c.says) {
				t.Errorf("the directory: %v, want %q", o.Directory, c.says)
			}
			if (o.Ahead-c.ahead).Abs() > time.Minute && !c.without && c.says == "" {
				t.Errorf("ahead by %s", o.Ahead)
			}
			if n := len(*asked); n > 1 || n == 1 && (*asked)[0] != "GET /dir" {
				t.Errorf("asked for %q", *asked)
			}
			if n := len(o.Proofs); n > 0 && (o.Proofs[n-1].Unknown == nil ||
				!strings.Contains(o.Proofs[n-1].Unknown.Error(), "connection refused")) {
				t.Errorf("the name: %+v", o.Proofs)
			}
		})
	}
}

// A resolver and a server that do not answer are told within a bounded time.
func TestOutlookOfADeafServer(t *testing.T) {
	dir, caFile, _ := offers(t, nil, time.Now())
	for _, challenge := range []string{config.ChallengeDNS, config.ChallengeDNSPersist} {
		o := checked(t, func(cfg *config.Config) {
			cfg.Issuer.ACME.Directory, cfg.Issuer.ACME.CAFile = dir, caFile
			cfg.Issuer.ACME.Challenge, cfg.Host.AltNames = challenge, []string{"www.example.test", "192.0.2.1"}
			cfg.DNS.Resolver = deaf(t)
		})
		if len(o.Proofs) != 2 {
			t.Fatalf("%s: %+v", challenge, o.Proofs)
		}
		for _, p := range o.Proofs {
			want := "answer" // no record is looked for before there is an account
			if challenge == config.ChallengeDNSPersist {
				want = "run `mailcertd renew`"
			}
			if p.Err == nil || !strings.Contains(p.Err.Error(), want) {
				t.Errorf("%s of %s: %v", challenge, p.Name, p.Err)
			}
		}
	}
}

// The owner's program must be there and be root's alone.
func TestOutlookOfTheCommand(t *testing.T) {
	dir, caFile, _ := offers(t, nil, time.Now())
	path := filepath.Join(t.TempDir(), "hook")
	for _, c := range []struct {
		mode os.FileMode
		says string
	}{{0, "no such file"}, {0o644, "permission denied"}, {0o777, "go-w"}, {0o755, ""}} {
		if c.mode != 0 {
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		o := checked(t, func(cfg *config.Config) {
			cfg.Issuer.ACME.Directory, cfg.Issuer.ACME.CAFile = dir, caFile
			cfg.Issuer.ACME.Challenge, cfg.Issuer.ACME.Command = config.ChallengeCommand, []string{path}
		})
		if err := o.Proofs[0].Err; (err == nil) != (c.says == "") ||
			err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("mode %04o: %v, want %q", c.mode, err, c.says)
		}
	}
}

// All that is missing is told at once: a file of the CA, and the key of the zone.
func TestOutlookTellsAll(t *testing.T) {
	dir, _, asked := offers(t, nil, time.Now())
	o := checked(t, func(cfg *config.Config) {
		cfg.Issuer.ACME.Directory, cfg.Issuer.ACME.CAFile = dir, "/nonexistent/ca.pem"
		cfg.Issuer.ACME.Challenge, cfg.DNS.KeyFile = config.ChallengeDNS, "/nonexistent/dns.key"
	})
	if o.Directory == nil || !strings.Contains(o.Directory.Error(), "/nonexistent/ca.pem: does not exist") {
		t.Errorf("the directory: %v", o.Directory)
	}
	if len(o.Proofs) != 1 || !strings.Contains(o.Proofs[0].Err.Error(), "/nonexistent/dns.key") {
		t.Errorf("the proofs: %+v", o.Proofs)
	}
	if len(*asked) != 0 {
		t.Errorf("asked for %q", *asked)
	}
}

// A check asks the fallback too, and says which of the two would refuse.
func TestOutlookOfTheFallback(t *testing.T) {
	dir, caFile, _ := offers(t, nil, time.Now())
	second, secondFile, asked := offers(t, map[string]any{"externalAccountRequired": true}, time.Now())
	o := checked(t, func(cfg *config.Config) {
		a := &cfg.Issuer.ACME
		a.Directory, a.CAFile = dir, caFile
		a.Fallback.Directory, a.Fallback.CAFile, a.Fallback.AgreeTOS = second, secondFile, true
		cfg.DNS.Resolver = closed(t)
	})
	if o.Directory != nil || o.Fallback == nil || !strings.Contains(o.Fallback.Error(), "only for its customers") {
		t.Errorf("the directory: %v, the fallback: %v", o.Directory, o.Fallback)
	}
	if len(*asked) != 1 || (*asked)[0] != "GET /dir" {
		t.Errorf("asked for %q", *asked)
	}
	for challenge, says := range map[string]string{config.ChallengeHTTP: "",
		config.ChallengeDNSPersist: "the first order creates it"} {
		fine, fineFile, _ := offers(t, map[string]any{"caaIdentities": []string{"ca.example"}}, time.Now())
		o := checked(t, func(cfg *config.Config) {
			a := &cfg.Issuer.ACME
			a.Directory, a.CAFile, a.Challenge = dir, caFile, challenge
			a.Fallback.Directory, a.Fallback.CAFile, a.Fallback.AgreeTOS = fine, fineFile, true
			cfg.DNS.Resolver = closed(t)
		})
		if (o.Fallback == nil) != (says == "") || says != "" && !strings.Contains(o.Fallback.Error(), says) {
			t.Errorf("%s: the fallback: %v, want %q", challenge, o.Fallback, says)
		}
	}
}
