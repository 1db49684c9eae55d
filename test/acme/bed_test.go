// Package acme tests internal/issuer/acme with Pebble, the test server of Let's Encrypt, and with an ACME directory
// that gives wrong answers.
package acme

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
	"mailcertd/test/bed"
)

var tools string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if tools, err = os.MkdirTemp("", "acme"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(tools) }()
	for _, name := range []string{"pebble", "pebble-challtestsrv"} {
		tool := "github.com/letsencrypt/pebble/v2/cmd/" + name
		out, err := exec.Command("go", "build", "-o", tools, tool).CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// pebble is a running CA behind a proxy, the front, which can change or drop answers. mu guards before and after.
type pebble struct {
	t        *testing.T
	front    *httptest.Server
	manage   string // URL of Pebble's management interface
	dns      string // URL of the management interface of its DNS server
	httpPort int
	log      *safeBuffer
	cas      []byte // PEM certificates that verify the front's https

	mu sync.Mutex
	// before gets each request first, and may answer it: then it returns true, and Pebble does not get the request.
	before func(w http.ResponseWriter, r *http.Request) bool
	// after gets each request that Pebble has answered, and the status. When it returns false the answer is dropped.
	after func(r *http.Request, status int) bool
}

type settings struct {
	env  []string
	conf map[string]any // merged into Pebble's configuration
}

// start starts Pebble with its DNS server on loopback ports.
func start(t *testing.T, s settings) *pebble {
	t.Helper()
	dir := t.TempDir()
	p := &pebble{t: t, log: &safeBuffer{}, httpPort: port(t)}
	cert, key := bed.HTTPSPair(t)
	write(t, filepath.Join(dir, "cert.pem"), cert)
	write(t, filepath.Join(dir, "key.pem"), key)
	api, manage, dns, dnsManage := port(t), port(t), port(t), port(t)
	conf := map[string]any{
		"listenAddress": at(api), "managementListenAddress": at(manage), "certificate": filepath.Join(dir, "cert.pem"),
		"privateKey": filepath.Join(dir, "key.pem"), "httpPort": p.httpPort, "tlsPort": port(t),
		"domainBlocklist": []string{"blocked-domain.example"}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "usual", "validityPeriod": 7776000},
			"shortlived": map[string]any{"description": "short", "validityPeriod": 518400}},
	}
	maps.Copy(conf, s.conf)
	data, err := json.Marshal(map[string]any{"pebble": conf})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), data)
	p.manage, p.dns = "https://"+at(manage), "http://"+at(dnsManage)
	p.launch([]string{"pebble-challtestsrv", "-dnsserver", at(dns), "-management", at(dnsManage), "-http01", "",
		"-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""}, nil, dnsManage)
	env := append([]string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", "PEBBLE_WFE_NONCEREJECT=5"}, s.env...)
	p.launch([]string{"pebble", "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", at(dns), "-strict"}, env,
		api)
	p.serve(&url.URL{Scheme: "https", Host: at(api)}, cert)
	return p
}

// launch runs a program until the test ends, and waits until its port answers.
func (p *pebble) launch(argv, env []string, wait int) {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(tools, argv[0]), argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), p.log, p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", at(wait)); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	p.t.Fatalf("%s does not start: %s", argv[0], p.log)
}

// serve starts the front before Pebble.
func (p *pebble) serve(to *url.URL, cert []byte) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // so that Pebble's URLs name the front
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		ErrorLog:  nil,
	}
	p.front = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		before, after := p.before, p.after
		p.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		if after != nil && !after(r, answer.Code) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	p.front.Config.ErrorLog = nil
	p.t.Cleanup(p.front.Close)
	p.cas = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.front.Certificate().Raw})
}

func (p *pebble) hook(before func(http.ResponseWriter, *http.Request) bool, after func(*http.Request, int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.after = before, after
}

// orders and accounts are the numbers that Pebble has logged.
func (p *pebble) orders() int   { return strings.Count(p.log.String(), "Added order ") }
func (p *pebble) accounts() int { return strings.Count(p.log.String(), "accounts in memory") }

// options are those for http-01 with this Pebble.
func (p *pebble) options(store acme.Store) acme.Options {
	return acme.Options{Directory: p.front.URL + "/dir", AgreeTOS: true, CAs: p.cas, Challenge: acme.HTTP,
		Profile: "default", Listener: acme.Listener{Listen: at(p.httpPort)}, Store: store, Now: time.Now,
		Log: func(s string) { p.t.Log("log: " + s) }, Agent: "mailcertd-test", Patience: time.Minute}
}

func client(t *testing.T, o acme.Options) *acme.Issuer {
	t.Helper()
	i, err := acme.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// obtain asks for a certificate, and fails the test where it gets none.
func obtain(t *testing.T, o acme.Options, r issuer.Request) issuer.Reply {
	t.Helper()
	reply, err := client(t, o).Ask(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Answered(reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// refused asks for a certificate and checks that it gets a refusal of this kind.
func refused(t *testing.T, o acme.Options, r issuer.Request, kind issuer.Kind, final bool,
	says ...string) issuer.Refusal {
	t.Helper()
	_, err := client(t, o).Ask(context.Background(), r)
	no, is := err.(issuer.Refusal)
	if !is {
		t.Fatalf("%v (%T), want a refusal", err, err)
	}
	if no.Kind != kind || no.Final != final {
		t.Errorf("%s: kind %s, final %v; want %s, %v", no.Reason, no.Kind, no.Final, kind, final)
	}
	for _, s := range says {
		if !strings.Contains(no.Reason, s) {
			t.Errorf("%q does not say %q", no.Reason, s)
		}
	}
	return no
}

// request makes a request with a new key.
func request(t *testing.T, name string, more ...string) issuer.Request {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.CreateRequest(key, name, more, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issuer.Request{CSR: csr}
}

// zone makes Pebble's DNS server an acme.DNS. mu guards has, dead and adds.
type zone struct {
	p    *pebble
	mu   sync.Mutex
	has  map[string][]string
	dead bool // the program was killed, so it does nothing more
	adds int
}

func (p *pebble) zone() *zone { return &zone{p: p, has: map[string][]string{}} }

func (z *zone) Add(_ context.Context, name, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.dead {
		return errDead
	}
	z.adds++
	if !slices.Contains(z.has[name], value) {
		z.has[name] = append(z.has[name], value)
	}
	return z.publish(name)
}

func (z *zone) publish(name string) error {
	if err := z.post("/clear-txt", map[string]string{"host": name + "."}); err != nil {
		return err
	}
	for _, v := range z.has[name] {
		if err := z.post("/set-txt", map[string]string{"host": name + ".", "value": v}); err != nil {
			return err
		}
	}
	return nil
}

func (z *zone) post(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	resp, err := http.Post(z.p.dns+path, "application/json", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}

func (z *zone) Remove(_ context.Context, name, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.dead {
		return errDead
	}
	var left []string
	for _, v := range z.has[name] {
		if v != value {
			left = append(left, v)
		}
	}
	z.has[name] = left
	if len(left) == 0 {
		delete(z.has, name)
	}
	return z.publish(name)
}

func (z *zone) Wait(context.Context, string, string) error {
	if z.dead {
		return errDead
	}
	return nil
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.has[name], nil
}

var errDead = fmt.Errorf("the program was killed")

// memory is a Store. At the operation number die it stops as if the program was killed, before or after that operation.
// mu guards the other fields.
type memory struct {
	mu      sync.Mutex
	files   map[string][]byte
	n       int
	die     int // counted from 1; 0: never
	before  bool
	dead    bool
	killing func()
}

func newMemory() *memory { return &memory{files: map[string][]byte{}} }

// step does one operation, or is killed at it.
func (m *memory) step(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDead
	}
	m.n++
	now := m.n == m.die
	var err error
	if !now || !m.before {
		err = do()
	}
	if now {
		m.dead = true
		if m.killing != nil {
			m.killing()
		}
		return errDead
	}
	return err
}

func (m *memory) Read(name string) (data []byte, err error) {
	err = m.step(func() error {
		d, has := m.files[name]
		if !has {
			return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		data = bytes.Clone(d)
		return nil
	})
	return data, err
}

func (m *memory) Write(name string, data []byte) error {
	return m.step(func() error { m.files[name] = bytes.Clone(data); return nil })
}

func (m *memory) Remove(name string) error {
	return m.step(func() error { delete(m.files, name); return nil })
}

// reborn makes the store usable again, as a new process finds it.
func (m *memory) reborn() { m.die, m.dead, m.n, m.killing = 0, false, 0, nil }

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

var (
	portMu    sync.Mutex
	portsUsed = map[int]bool{}
)

// port returns a free port that no other process gets before a test listens on it: the system itself assigns only ports
// from 32768 on.
func port(t *testing.T) int {
	t.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	var failed error
	for range 100 {
		n := 20_000 + mrand.IntN(12_000)
		if portsUsed[n] {
			continue
		}
		l, err := net.Listen("tcp", at(n))
		if err != nil {
			failed = err
			continue
		}
		_ = l.Close()
		portsUsed[n] = true
		return n
	}
	t.Fatal("no port is free: ", failed)
	return 0
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// managed sends a request to Pebble's management interface.
func (p *pebble) managed(method, path string, body io.Reader) []byte {
	p.t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec
	req, err := http.NewRequest(method, p.manage+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s, %v: %s", path, resp.Status, err, data)
	}
	return data
}
