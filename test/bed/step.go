package bed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Step is step-ca, an ACME CA for the hosts of one owner. It has a root of its own, and issues by an intermediate.
type Step struct {
	Root []byte // PEM; it also vouches for the https of the directories
	port int
	said *Output
}

// NewStep starts a step-ca that lives as long as the test. directories has the life of the certificates of each
// directory; those of customers make accounts only with an external account binding. It looks for answers to http-01 at
// the port of names, a Pebble whose name server it asks.
func NewStep(t testing.TB, names *Pebble, directories map[string]time.Duration, customers ...string) *Step {
	t.Helper()
	program, err := filepath.Abs("../../bin/step-ca")
	if err != nil {
		t.Fatal(err)
	}
	Need(t, false, program)
	s := &Step{port: Port(t), said: &Output{}}
	dir := tempDir(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, data []byte) {
		if err := os.WriteFile(file(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, rootKey := stepCA(t, "Owner's Root", nil, nil)
	issuer, issuerKey := stepCA(t, "Owner's Intermediate", root, rootKey)
	s.Root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	key, err := x509.MarshalECPrivateKey(issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	put("root.pem", s.Root)
	put("issuer.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Raw}))
	put("issuer.key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}))
	var provisioners []any
	for name, life := range directories {
		provisioners = append(provisioners, map[string]any{"type": "ACME", "name": name,
			"requireEAB": slices.Contains(customers, name),
			"claims": map[string]string{"minTLSCertDuration": "1s", "defaultTLSCertDuration": life.String(),
				"maxTLSCertDuration": life.String()}})
	}
	conf, err := json.Marshal(map[string]any{"root": file("root.pem"), "crt": file("issuer.pem"),
		"key": file("issuer.key"), "address": Local(s.port), "dnsNames": []string{"127.0.0.1"},
		"logger":    map[string]string{"format": "text"},
		"db":        map[string]string{"type": "bbolt", "dataSource": file("db")},
		"authority": map[string]any{"backdate": "1s", "provisioners": provisioners}})
	if err != nil {
		t.Fatal(err)
	}
	put("ca.json", conf)
	cmd := exec.Command(program, file("ca.json"), "--resolver", names.Resolver, "--insecure", "--acme-http-port",
		strconv.Itoa(names.HTTPPort))
	cmd.Env = append(os.Environ(), "STEPPATH="+dir)
	cmd.Stdout, cmd.Stderr = s.said, s.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("step-ca:\n%s", s.said)
		}
	})
	Wait(t, "step-ca to listen", func() error {
		c, err := net.Dial("tcp", Local(s.port))
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return s
}

// Directory is the URL of a directory.
func (s *Step) Directory(name string) string {
	return "https://" + Local(s.port) + "/acme/" + name + "/directory"
}

// Orders is the number of orders that were placed.
func (s *Step) Orders() int { return len(placedOrder.FindAllString(s.said.String(), -1)) }

var placedOrder = regexp.MustCompile(`path=/acme/\w+/new-order .*status=201`)

// stepCA makes a CA, self-signed where by is nil.
func stepCA(t testing.TB, name string, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate,
	*ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if by == nil {
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key
}
