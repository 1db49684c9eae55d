package bed

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Pebble is Let's Encrypt's test server on a host. Every name in its name server has the address of the host.
type Pebble struct {
	h         *Host
	dir       string
	cmd       []*exec.Cmd
	dns       string
	said      *said
	Directory string // URL of its directory
	CAFile    string // the CA certificate for its https, a path on the host
}

const (
	pebbleAddr   = "127.0.0.1:14000"
	pebbleManage = "127.0.0.1:15000"
	pebbleDNS    = "127.0.0.1:8053"
)

// NewPebble starts Pebble on a host. Its CA connects to port 80 of the host, and asks the name server at the address
// dns; "" starts one.
func NewPebble(t testing.TB, h *Host, dns string) *Pebble {
	t.Helper()
	Need(t, true, "curl")
	p := &Pebble{h: h, dns: dns, dir: tempDir(t), said: &said{}, Directory: "https://" + pebbleAddr + "/dir",
		CAFile: "/etc/mail/pebble.pem"}
	for _, name := range []string{"pebble", "pebble-challtestsrv"} {
		cmd := exec.Command("go", "build", "-o", p.dir, "github.com/letsencrypt/pebble/v2/cmd/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	cert, key := HTTPSPair(t)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{"listenAddress": pebbleAddr,
		"managementListenAddress": pebbleManage, "certificate": filepath.Join(p.dir, "cert.pem"),
		"privateKey": filepath.Join(p.dir, "key.pem"), "httpPort": 80, "tlsPort": 443, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "usual", "validityPeriod": 7776000}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": key, "pebble.json": conf} {
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(h.Path(p.CAFile), cert, 0o644); err != nil {
		t.Fatal(err)
	}
	p.Start(t)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("Pebble:\n%s", p.said)
		}
	})
	return p
}

// Start starts Pebble, which has forgotten everything and has another root certificate.
func (p *Pebble) Start(t testing.TB) {
	t.Helper()
	for _, argv := range [][]string{
		{"pebble-challtestsrv", "-dnsserver", pebbleDNS, "-management", "127.0.0.1:8055", "-http01", "", "-https01", "",
			"-tlsalpn01", "", "-doh", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""},
		{"pebble", "-config", filepath.Join(p.dir, "pebble.json"), "-dnsserver", cmp.Or(p.dns, pebbleDNS),
			"-strict"}} {
		argv[0] = filepath.Join(p.dir, argv[0])
		cmd := p.h.Command(append([]string{"env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0",
			"PEBBLE_WFE_NONCEREJECT=5"}, argv...)...)
		cmd.Stdout, cmd.Stderr = p.said, p.said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p.cmd = append(p.cmd, cmd)
	}
	Wait(t, "Pebble to answer", func() error {
		if out, code := p.h.Run("curl", "-sf", "--cacert", p.CAFile, p.Directory); code != 0 {
			return fmt.Errorf("curl: %d %s", code, out)
		}
		return nil
	})
}

// Stop stops Pebble.
func (p *Pebble) Stop() {
	for _, cmd := range p.cmd {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	p.cmd = nil
}

// Orders is the number of orders that were placed since the start.
func (p *Pebble) Orders() int { return strings.Count(p.said.String(), "Added order ") }

// Log is the output of Pebble.
func (p *Pebble) Log() string { return p.said.String() }

// RenewFrom makes Pebble's renewal information (ARI) say that the first certificate in the PEM data is to be renewed
// between these times.
func (p *Pebble) RenewFrom(t testing.TB, cert []byte, start, end time.Time) {
	t.Helper()
	leaf, _ := pem.Decode(cert)
	window, err := json.Marshal(map[string]any{"suggestedWindow": map[string]any{"start": start.UTC(),
		"end": end.UTC()}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"Certificate": string(pem.EncodeToMemory(leaf)),
		"ARIResponse": string(window)})
	if err != nil {
		t.Fatal(err)
	}
	p.h.Must(t, "curl", "-sfk", "-d", string(body), "https://"+pebbleManage+"/set-renewal-info/")
}

// HTTPSPair makes the certificate and key, in PEM, of a Pebble that listens on 127.0.0.1.
func HTTPSPair(t testing.TB) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pebble's https"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(240 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}
