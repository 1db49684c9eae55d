package keeper

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"mailcertd/internal/config"
	"mailcertd/internal/pki"
)

// simulatedCA is an ACME directory with a clock that the test sets. It checks no signature and no name. mu guards all
// fields but the first three.
type simulatedCA struct {
	server *httptest.Server
	key    crypto.Signer
	cert   *x509.Certificate

	mu       sync.Mutex
	now      time.Time
	life     time.Duration
	windows  bool          // it says when to renew (RFC 9773)
	over     bool          // the time that it says is always over
	again    time.Duration // its Retry-After for that
	away     bool          // it closes every connection
	loses    int           // so many next answers to new orders are lost
	limited  time.Duration // it refuses orders, and sends this Retry-After
	asked    []time.Time   // when somebody connected to ask for its directory, whether it was away or not
	accounts int
	orders   []*publicOrder
	polls    []time.Time
	leaves   map[string]*x509.Certificate // by their names in renewal information
}

type publicOrder struct {
	at       time.Time
	names    []identifier
	replaces string
	chain    []byte
}

type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func newSimulatedCA(t testing.TB, now time.Time, life time.Duration) *simulatedCA {
	t.Helper()
	ca := &simulatedCA{now: now, life: life, again: 6 * time.Hour, leaves: map[string]*x509.Certificate{}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca.key = key
	begin, end := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A public CA"},
		NotBefore: begin, NotAfter: end, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca.cert = sign(t, root, root, key.Public(), key)
	https := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: begin, NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	ca.server = httptest.NewUnstartedServer(http.HandlerFunc(ca.serve))
	ca.server.TLS = &tls.Config{Certificates: []tls.Certificate{{PrivateKey: key,
		Certificate: [][]byte{sign(t, https, ca.cert, key.Public(), key).Raw}}}}
	ca.server.StartTLS()
	t.Cleanup(ca.server.Close)
	return ca
}

func sign(t testing.TB, c, by *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// issuer writes the CA certificate into a file below root and returns the section `issuer` of a configuration.
func (ca *simulatedCA) issuer(t testing.TB, root, name string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), pki.EncodeCertificate(ca.cert.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	return "issuer: {acme: {directory: '" + ca.server.URL + "/dir', agree_tos: true, ca_file: /" + name + "}}\n"
}

// publicSite is a host whose issuer is such a CA. It begins with the clock of the CA at its own.
func publicSite(t *testing.T, life time.Duration) (*site, *simulatedCA) {
	t.Helper()
	s := newSite(t, "")
	ca := newSimulatedCA(t, s.now, life)
	cfg, err := config.Parse([]byte("key: {type: ecdsa-p256}\n"+ca.issuer(t, s.root, "public.pem")), "mailcertd.yaml",
		s.root)
	if err != nil {
		t.Fatal(err)
	}
	s.o.Config = cfg
	s.Keeper = New(s.o)
	return s, ca
}

// at sets the clock of the CA.
func (ca *simulatedCA) at(now time.Time) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.now = now
}

// set changes how the CA behaves.
func (ca *simulatedCA) set(edit func()) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	edit()
}

func (ca *simulatedCA) serve(w http.ResponseWriter, r *http.Request) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if n := len(ca.asked); r.URL.Path == "/dir" && (n == 0 || !ca.asked[n-1].Equal(ca.now)) {
		ca.asked = append(ca.asked, ca.now)
	}
	if ca.away {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Replay-Nonce", "bm9uY2U")
	at := func(path string, v ...any) string { return ca.server.URL + fmt.Sprintf(path, v...) }
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	what, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var payload struct {
		Identifiers []identifier
		Replaces    string
		CSR         string
	}
	if r.Method == http.MethodPost {
		var jws struct{ Payload string }
		_ = json.NewDecoder(r.Body).Decode(&jws)
		data, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		_ = json.Unmarshal(data, &payload)
	}
	var n int
	var o *publicOrder
	if _, err := fmt.Sscan(id, &n); err == nil && n < len(ca.orders) {
		o = ca.orders[n]
	}
	shown := func() map[string]any {
		v := map[string]any{"status": "ready", "identifiers": o.names, "authorizations": []string{at("/authz/%d", n)},
			"finalize": at("/finalize/%d", n), "expires": o.at.Add(7 * 24 * time.Hour)}
		if o.chain != nil {
			v["status"], v["certificate"] = "valid", at("/certificate/%d", n)
		}
		return v
	}
	switch {
	case what == "dir":
		v := map[string]any{"newNonce": at("/nonce"), "newAccount": at("/account"), "newOrder": at("/order")}
		if ca.windows {
			v["renewalInfo"] = at("/renewal")
		}
		answer(http.StatusOK, v)
	case what == "nonce":
	case what == "account":
		ca.accounts++
		w.Header().Set("Location", at("/account/1"))
		answer(http.StatusCreated, map[string]any{"status": "valid", "orders": at("/orders")})
	case what == "orders":
		var open []string
		for n, o := range ca.orders {
			if o.chain == nil {
				open = append(open, at("/order/%d", n))
			}
		}
		answer(http.StatusOK, map[string]any{"orders": open})
	case what == "order" && id == "" && ca.limited > 0:
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", fmt.Sprint(int(ca.limited/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}`)
	case what == "order" && id == "":
		n, o = len(ca.orders), &publicOrder{at: ca.now, names: payload.Identifiers, replaces: payload.Replaces}
		ca.orders = append(ca.orders, o)
		if ca.loses > 0 {
			ca.loses--
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Location", at("/order/%d", n))
		answer(http.StatusCreated, shown())
	case what == "renewal" && ca.windows && ca.leaves[id] != nil:
		ca.polls = append(ca.polls, ca.now)
		w.Header().Set("Retry-After", fmt.Sprint(int(ca.again/time.Second)))
		start, end := window(ca.leaves[id])
		if ca.over {
			start, end = ca.now.Add(-2*time.Hour), ca.now.Add(-time.Hour)
		}
		answer(http.StatusOK, map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}})
	case o == nil:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"type":"urn:ietf:params:acme:error:malformed","detail":"there is no such thing"}`)
	case what == "finalize":
		der, _ := base64.RawURLEncoding.DecodeString(payload.CSR)
		if err := ca.issue(o, der); err != nil {
			panic(err)
		}
		answer(http.StatusOK, shown())
	case what == "order":
		answer(http.StatusOK, shown())
	case what == "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.chain)
	}
}

// issue signs the certificate of an order as Let's Encrypt does: with no subject, and for servers only.
func (ca *simulatedCA) issue(o *publicOrder, der []byte) error {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	begin := ca.now.Add(-time.Hour)
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(1000 + len(ca.leaves))), NotBefore: begin,
		NotAfter: begin.Add(ca.life), DNSNames: csr.DNSNames, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if der, err = x509.CreateCertificate(rand.Reader, c, ca.cert, csr.PublicKey, ca.key); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	id, err := acme.ARIUniqueIdentifier(leaf)
	if err != nil {
		return err
	}
	ca.leaves[id] = leaf
	o.chain = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pki.EncodeCertificate(ca.cert.Raw)...)
	return nil
}

// window is when the CA wants a leaf to be renewed: around the time at which a third of its life is left.
func window(c *x509.Certificate) (start, end time.Time) {
	life := c.NotAfter.Sub(c.NotBefore)
	due := c.NotBefore.Add(life * 2 / 3)
	return due.Add(-life / 50).Truncate(time.Second), due.Add(life / 50).Truncate(time.Second)
}
