// Package acme tests internal/issuer/acme with Pebble, the test server of Let's Encrypt, and with an ACME directory
// that gives wrong answers.
package acme

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
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

func TestMain(m *testing.M) {
	code := m.Run()
	bed.Clean()
	os.Exit(code)
}

// pebble is a running CA behind a proxy, the front, which can change or drop answers.
type pebble struct {
	*bed.Pebble
	t     *testing.T
	front *bed.Front
}

type settings struct {
	env  []string
	conf map[string]any // merged into Pebble's configuration
}

// start starts Pebble with its DNS server on loopback ports.
func start(t *testing.T, s settings) *pebble {
	t.Helper()
	p := &pebble{Pebble: bed.NewPebble(t, bed.PebbleOptions{Env: s.env, Conf: s.conf}), t: t}
	p.front = bed.NewFront(t, p.Pebble)
	return p
}

// options are those for http-01 with this Pebble.
func (p *pebble) options(store acme.Store) acme.Options {
	return acme.Options{Directory: p.front.Directory, AgreeTOS: true, CAs: p.front.CA, Challenge: acme.HTTP,
		Profile: "default", Listener: acme.Listener{Listen: bed.Local(p.HTTPPort)}, Store: store, Now: time.Now,
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
	resp, err := http.Post(z.p.DNS()+path, "application/json", bytes.NewReader(data))
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

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
