package bed

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Pebble is Let's Encrypt's test server. Every name in its name server has the address 127.0.0.1, unless Resolves says
// otherwise. Its certificates are for servers alone, as those of Let's Encrypt are.
type Pebble struct {
	o    PebbleOptions
	dir  string
	cmd  []*exec.Cmd
	said *Output
	addr string // where its directory listens
	// posts is held by a Front while Pebble answers a POST.
	posts sync.Mutex
	// The ports of the directory and of the name server, each with that of its management interface.
	api, manage, dns, dnsManage int

	Directory string // URL of its directory
	CAFile    string // the CA certificate for its https, a path where Pebble runs
	CA        []byte // the content of CAFile
	Resolver  string // the address of its name server
	HTTPPort  int    // the port that it connects to for http-01
}

// PebbleOptions say how a Pebble differs from the usual one, which is on this machine.
type PebbleOptions struct {
	Host *Host  // the host where it runs, on fixed ports; nil means this machine, on free ports
	IP   string // where its directory and its name server listen, for other hosts; "" means 127.0.0.1
	// Second moves it to other ports of the Host, where another one runs already.
	Second bool
	DNS    string         // the address of the name server that it asks; "" means its own
	Env    []string       // environment variables, such as PEBBLE_WFE_NONCEREJECT=50
	Conf   map[string]any // merged into its configuration
}

// NewPebble starts a Pebble that lives as long as the test.
func NewPebble(t testing.TB, o PebbleOptions) *Pebble {
	t.Helper()
	p := &Pebble{o: o, dir: tempDir(t), said: &Output{}}
	p.CAFile = filepath.Join(p.dir, "cert.pem")
	if o.Host != nil {
		p.CAFile = "/etc/mail/pebble.pem"
		p.api, p.manage, p.dns, p.dnsManage, p.HTTPPort = 14000, 15000, 8053, 8055, 80
		if o.Second {
			p.CAFile = "/etc/mail/second.pem"
			p.api, p.manage, p.dns, p.dnsManage = 14100, 15100, 8153, 8155
		}
	} else {
		for _, port := range []*int{&p.api, &p.manage, &p.dns, &p.dnsManage, &p.HTTPPort} {
			*port = Port(t)
		}
	}
	ip := cmp.Or(o.IP, "127.0.0.1")
	p.addr, p.Resolver = fmt.Sprintf("%s:%d", ip, p.api), fmt.Sprintf("%s:%d", ip, p.dns)
	p.Directory = "https://" + p.addr + "/dir"
	cert, key := httpsPair(t, ip)
	p.CA = cert
	conf := map[string]any{"listenAddress": p.addr, "managementListenAddress": Local(p.manage),
		"certificate": filepath.Join(p.dir, "cert.pem"), "privateKey": filepath.Join(p.dir, "key.pem"),
		"httpPort": p.HTTPPort, "tlsPort": 443, "keyAlgorithm": "ecdsa",
		"domainBlocklist": []string{"blocked-domain.example"},
		"profiles": map[string]any{"default": map[string]any{"description": "usual", "validityPeriod": 7776000},
			"shortlived": map[string]any{"description": "short", "validityPeriod": 518400}}}
	maps.Copy(conf, o.Conf)
	data, err := json.Marshal(map[string]any{"pebble": conf})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"cert.pem": cert, "key.pem": key, "pebble.json": data}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if o.Host != nil {
		if err := os.WriteFile(o.Host.Path(p.CAFile), cert, 0o644); err != nil {
			t.Fatal(err)
		}
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
	tool := Pebbles(t)
	for _, argv := range [][]string{
		{tool("pebble-challtestsrv"), "-dnsserver", p.Resolver, "-management", Local(p.dnsManage), "-http01", "",
			"-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""},
		{tool("pebble"), "-config", filepath.Join(p.dir, "pebble.json"), "-dnsserver", cmp.Or(p.o.DNS, p.Resolver),
			"-strict"}} {
		argv = append(append([]string{"env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT=5"},
			p.o.Env...), argv...)
		cmd := exec.Command(argv[0], argv[1:]...)
		if p.o.Host != nil {
			cmd = p.o.Host.Command(argv...)
		}
		cmd.Stdout, cmd.Stderr = p.said, p.said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p.cmd = append(p.cmd, cmd)
	}
	for _, addr := range []string{p.addr, Local(p.manage), Local(p.dnsManage)} {
		Wait(t, "Pebble to answer", func() error {
			c, err := p.dial("tcp", addr)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
}

// Stop stops Pebble.
func (p *Pebble) Stop() {
	for _, cmd := range p.cmd {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
	p.cmd = nil
}

// dial connects to an address of the machine or host where Pebble runs.
func (p *Pebble) dial(network, addr string) (net.Conn, error) {
	if p.o.Host != nil {
		return p.o.Host.Dial(network, addr)
	}
	return net.Dial(network, addr)
}

// Orders is the number of orders that were placed.
func (p *Pebble) Orders() int { return strings.Count(p.said.String(), "Added order ") }

// Accounts is the number of accounts that were made.
func (p *Pebble) Accounts() int { return strings.Count(p.said.String(), "accounts in memory") }

// Log is the output of Pebble.
func (p *Pebble) Log() string { return p.said.String() }

// Managed sends a request to Pebble's management interface: POST with a body, GET where the body is nil.
func (p *Pebble) Managed(t testing.TB, path string, body []byte) []byte {
	t.Helper()
	return p.ask(t, "https://"+Local(p.manage)+path, body)
}

func (p *Pebble) ask(t testing.TB, url string, body []byte) []byte {
	t.Helper()
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	tr := p.transport(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", url, resp.Status, err, data)
	}
	return data
}

// DNS is the URL of the management interface of its name server.
func (p *Pebble) DNS() string { return "http://" + Local(p.dnsManage) }

// RenewFrom makes Pebble's renewal information (ARI) say that the first certificate in the PEM data is to be renewed
// between these times.
func (p *Pebble) RenewFrom(t testing.TB, cert []byte, start, end time.Time) {
	t.Helper()
	window, err := json.Marshal(map[string]any{"suggestedWindow": map[string]any{"start": start.UTC(),
		"end": end.UTC()}})
	if err != nil {
		t.Fatal(err)
	}
	p.Renews(t, cert, string(window))
}

// Renews makes answer the renewal information (ARI) of the first certificate in the PEM data.
func (p *Pebble) Renews(t testing.TB, cert []byte, answer string) {
	t.Helper()
	leaf, _ := pem.Decode(cert)
	body, err := json.Marshal(map[string]string{"Certificate": string(pem.EncodeToMemory(leaf)), "ARIResponse": answer})
	if err != nil {
		t.Fatal(err)
	}
	p.Managed(t, "/set-renewal-info/", body)
}

// Pebbles builds the programs of Pebble once, and returns a function for the path of each.
func Pebbles(t testing.TB) func(name string) string {
	t.Helper()
	for _, name := range []string{"pebble", "pebble-challtestsrv"} {
		once(t, name, "github.com/letsencrypt/pebble/v2/cmd/"+name, "")
	}
	return func(name string) string { return filepath.Join(buildDir, name) }
}

// Resolves makes its name server answer with that address for a name.
func (p *Pebble) Resolves(t testing.TB, name, ip string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"host": name, "addresses": []string{ip}})
	if err != nil {
		t.Fatal(err)
	}
	p.ask(t, p.DNS()+"/add-a", body)
}

// httpsPair makes the certificate and key, in PEM, of a Pebble that listens on that address.
func httpsPair(t testing.TB, ip string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pebble's https"},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(240 * time.Hour), IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true,
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
