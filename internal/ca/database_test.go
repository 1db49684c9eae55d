package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// history is a CA to which things happen: changes by mailcertd, whose Memory follows them, and changes by others.
type history struct {
	t   testing.TB
	o   Options
	d   *durable.Disk
	now time.Time
	csr string
}

type event struct {
	name string
	do   func(h *history, arg int) error
}

// events are what may happen. arg chooses among the rows. An error says that the event cannot happen now.
var events = []event{
	{"issue", func(h *history, arg int) error {
		req := request(h.t)
		req.Name = fmt.Sprintf("h%d.example.org", arg%3)
		_, err := Issue(context.Background(), h.d, h.o, req, rand.Reader, h.now)
		return err
	}},
	{"issue", func(h *history, _ int) error {
		_, err := Issue(context.Background(), h.d, h.o, request(h.t), rand.Reader, h.now)
		return err
	}},
	{"revoke", func(h *history, arg int) error {
		return h.session(func(s *Session) error { return s.Revoke(big.NewInt(int64(1+arg%6)), "superseded", h.now) })
	}},
	{"replace", func(h *history, _ int) error {
		return h.session(func(s *Session) error {
			ask := Ask{Request: pki.Request{Public: newKey(h.t).Public(), DNSNames: []string{"mail.example.org"}},
				Days: 90, Replace: true}
			_, _, err := s.Sign(ask, rand.Reader, h.now)
			return err
		})
	}},
	{"crl", func(h *history, _ int) error {
		return h.session(func(s *Session) error { return s.WriteCRL(rand.Reader, h.now) })
	}},
	{"start next", func(h *history, _ int) error {
		_, err := StartNext(context.Background(), h.d, h.o, rand.Reader, h.now)
		return err
	}},
	{"promote", func(h *history, _ int) error {
		_, err := Promote(context.Background(), h.d, h.o)
		return err
	}},
	{"prune", func(h *history, _ int) error {
		return Prune(context.Background(), h.d, h.o.Dir, h.now)
	}},
	{"enrol", func(h *history, arg int) error {
		return Members(context.Background(), h.d, h.o.Dir, Enrol(fmt.Sprintf("m%d.example.org", arg%3), nil, h.now))
	}},
	{"reconcile", func(h *history, _ int) error {
		_, err := Reconcile(context.Background(), h.d, h.o.Dir, nil)
		return err
	}},
	{"openssl ca", func(h *history, _ int) error {
		_, err := openssl(h.t, h.o.Dir, "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", h.csr, "-out",
			h.csr+".pem")
		return err
	}},
	{"openssl ca -revoke", func(h *history, arg int) error {
		_, err := openssl(h.t, h.o.Dir, "ca", "-config", "openssl.cnf", "-revoke",
			fmt.Sprintf("newcerts/%02X.pem", 1+arg%6))
		return err
	}},
	{"openssl ca -gencrl", func(h *history, _ int) error {
		_, err := openssl(h.t, h.o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
		return err
	}},
	{"torn row", func(h *history, _ int) error { return appendTo(h.path(indexName), "V\t3601010") }},
	{"bad row", func(h *history, arg int) error {
		if arg%4 != 0 {
			return os.ErrInvalid // this row stays until the end
		}
		return appendTo(h.path(indexName), "hello\n")
	}},
	{"removed row", func(h *history, arg int) error {
		data, err := os.ReadFile(h.path(indexName))
		rows := bytes.SplitAfter(data, []byte("\n"))
		if i := arg % len(rows); err == nil {
			err = os.WriteFile(h.path(indexName), bytes.Join(append(rows[:i:i], rows[i+1:]...), nil), 0o644)
		}
		return err
	}},
	{"orphan", func(h *history, arg int) error {
		k := newKey(h.t)
		t := &x509.Certificate{SerialNumber: big.NewInt(int64(100 + arg)), RawSubject: []byte{0x30, 0},
			DNSNames: []string{"mail.example.org"}, NotBefore: h.now, NotAfter: h.now.AddDate(0, 1, 0)}
		c, err := create(t, t, k.Public(), k, rand.Reader)
		if err != nil {
			return err
		}
		return os.WriteFile(h.path(NewCertsDir, FormatSerial(c.SerialNumber)+".pem"),
			pki.EncodeCertificate(c.Raw), 0o644)
	}},
	{"lost certificate", func(h *history, arg int) error {
		return os.Remove(h.path(NewCertsDir, fmt.Sprintf("%02X.pem", 1+arg%6)))
	}},
	{"no index", func(h *history, arg int) error {
		if arg%4 != 0 {
			return os.ErrInvalid
		}
		return os.Remove(h.path(indexName))
	}},
	{"time", func(h *history, arg int) error { h.now = h.now.AddDate(0, arg%5, 0); return nil }},
}

func (h *history) path(names ...string) string {
	return filepath.Join(append([]string{h.o.Dir}, names...)...)
}

func (h *history) session(f func(*Session) error) error {
	s, err := Open(context.Background(), h.d, h.o)
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

// alike compares what can be seen from outside the package.
var alike = cmp.Options{
	cmpopts.IgnoreUnexported(Observed{}, Entry{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }),
	cmp.Comparer(func(a, b *x509.RevocationList) bool {
		return a == b || a != nil && b != nil && bytes.Equal(a.Raw, b.Raw)
	}),
	cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) }),
}

// live makes events happen, two bytes of program for each. After each it compares what the Memory says with what is on
// the disk. It returns how often each event happened.
func live(t testing.TB, program []byte) map[string]int {
	o, d := made(t)
	opensslCounts(t, o.Dir)
	o.Memory = &Memory{}
	other := &Memory{} // this is the Memory of a person's verb, which only looks
	h := &history{t: t, o: o, d: d, now: start, csr: filepath.Join(t.TempDir(), "csr")}
	csr, err := pki.CreateRequest(newKey(t), "krb5.example.org", nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.csr, csr, 0o600); err != nil {
		t.Fatal(err)
	}
	happened, past := map[string]int{}, ""
	for ; len(program) >= 2; program = program[2:] {
		e := events[int(program[0])%len(events)]
		err := e.do(h, int(program[1]))
		if past += fmt.Sprintf("%s %d: %v\n", e.name, program[1], err); err == nil {
			happened[e.name]++
		}
		for name, m := range map[string]*Memory{o.Host: o.Memory, "h1.example.org": other} {
			fresh, remembered := Observe(o.Dir, Filter{Name: name}), m.Observe(o.Dir, Filter{Name: name})
			if diff := cmp.Diff(fresh, remembered, alike); diff != "" {
				t.Fatalf("%s\n-there +remembered, for %s\n%s", past, name, diff)
			}
			// These are fields that are not exported and that decisions depend on.
			if a, b := fresh.db.facts(), remembered.db.facts(); a != b {
				t.Fatalf("%s\n%s\nremembered:\n%s", past, a, b)
			}
		}
	}
	return happened
}

func (db *database) facts() string {
	next, err := db.nextSerial(nil)
	return fmt.Sprintln(next, err, db.rows, db.lines, db.files, db.whole, db.torn, db.blank, db.lost, db.plain,
		len(db.odd), db.orphans, db.highest, db.missing, db.leaves)
}

// generations is a history with three generations. The Memory must follow their numbers to know which one signed a
// certificate.
var generations = script("issue", "start next", "promote", "time", "issue", "time", "issue", "start next", "promote",
	"time", "issue", "revoke", "openssl ca", "torn row", "issue")

func script(names ...string) (program []byte) {
	for _, name := range names {
		program = append(program, byte(slices.IndexFunc(events, func(e event) bool { return e.name == name })), 1)
	}
	return program
}

// Whatever happens to the database, and whoever changes it, a Memory gives the same as reading the disk.
func TestMemory(t *testing.T) {
	openssltest.Need(t)
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	happened := live(t, generations)
	for range 25 {
		program := make([]byte, 2*20)
		for i := range program {
			program[i] = byte(rnd.Uint32())
		}
		for name, n := range live(t, program) {
			happened[name] += n
		}
	}
	for _, e := range events {
		if happened[e.name] == 0 {
			t.Errorf("it never happened: %s", e.name)
		}
	}
}

func FuzzMemory(f *testing.F) {
	openssltest.Need(f)
	f.Add(generations)
	f.Fuzz(func(t *testing.T, program []byte) { live(t, program[:min(len(program), 40)]) })
}

// openssl takes no lock. What it does while a session is open is neither lost nor repeated.
func TestOpensslMeanwhile(t *testing.T) {
	for _, remember := range []bool{false, true} {
		o, d := made(t)
		opensslCounts(t, o.Dir)
		if remember {
			o.Memory = &Memory{}
		}
		h := &history{t: t, o: o, d: d, now: start, csr: filepath.Join(t.TempDir(), "csr")}
		csr, err := pki.CreateRequest(newKey(t), "krb5.example.org", nil, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.csr, csr, 0o600); err != nil {
			t.Fatal(err)
		}
		issue(t, d, o, start)
		err = h.session(func(s *Session) error {
			openssl := []string{"ca", "-config", "openssl.cnf"}
			// This gets serial 2.
			mustOpenssl(t, o.Dir, append(openssl, "-batch", "-notext", "-in", h.csr, "-out", h.csr+".pem")...)
			if _, err := s.Issue(request(t), rand.Reader, start); err != nil {
				return err
			}
			if _, err := s.Issue(request(t), rand.Reader, start); err != nil {
				return err
			}
			mustOpenssl(t, o.Dir, append(openssl, "-revoke", "newcerts/01.pem")...)
			if err := s.Revoke(big.NewInt(1), "", start); !errors.Is(err, ErrRevoked) {
				t.Errorf("what openssl revoked: %v", err)
			}
			mustOpenssl(t, o.Dir, append(openssl, "-revoke", "newcerts/02.pem")...)
			if err := s.Revoke(big.NewInt(3), "superseded", start); err != nil {
				return err
			}
			mustOpenssl(t, o.Dir, append(openssl, "-revoke", "newcerts/04.pem")...)
			return s.WriteCRL(rand.Reader, start)
		})
		if err != nil {
			t.Fatal(err)
		}
		obs := Observe(o.Dir, Filter{})
		var text strings.Builder
		for _, e := range obs.index() {
			text.WriteString(fmt.Sprintf("%c%s ", e.Status, FormatSerial(e.Serial)))
		}
		if text.String() != "R01 R02 R03 R04 " || len(obs.Faults) > 0 || obs.CRL.Behind {
			t.Errorf("memory %v: %s, behind %v, %v", remember, text.String(), obs.CRL.Behind, obs.Faults)
		}
	}
}
