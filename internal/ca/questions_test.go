package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// unreadFrom makes the reads of index.txt fail from the one with that number on, counted from 1.
func unreadFrom(t *testing.T, which int) (undo func()) {
	n := 0
	u := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" && strings.HasSuffix(path, "/"+indexName) {
			if n++; n >= which {
				return syscall.EIO
			}
		}
		return nil
	})
	t.Cleanup(u)
	return u
}

// index.txt could be read once, and not a second time. This is reported, and the next look does not keep the error.
func TestSecondPassUnread(t *testing.T) {
	for _, c := range []struct {
		name  string
		which int
		want  FaultKind
		spoil func(t *testing.T, o Options)
	}{
		{"two rows of one subject", 2, FaultUnique, func(t *testing.T, o Options) {
			if err := os.WriteFile(filepath.Join(o.Dir, attrName), []byte("unique_subject = yes\n"),
				0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"a row that is there twice", 2, FaultIndexRefused, func(t *testing.T, o Options) {
			text, err := os.ReadFile(filepath.Join(o.Dir, indexName))
			if err == nil {
				err = os.WriteFile(filepath.Join(o.Dir, indexName), append(text, text...), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, d := made(t)
			issue(t, d, o, start)
			issue(t, d, o, start)
			c.spoil(t, o)
			m := &Memory{}
			undo := unreadFrom(t, c.which)
			if seen := m.Observe(o.Dir, Filter{}); !errors.Is(seen.Unread(), syscall.EIO) ||
				!has(seen.Faults, FaultIndexFile) {
				t.Errorf("%v %v", seen.Unread(), seen.Faults)
			}
			undo()
			if seen := m.Observe(o.Dir, Filter{}); seen.Unread() != nil || !has(seen.Faults, c.want) {
				t.Errorf("later: %v %v", seen.Unread(), seen.Faults)
			}
		})
	}
}

// replaceIndex puts another index.txt in its place, as openssl does.
func replaceIndex(t *testing.T, o Options, text []byte) {
	path := filepath.Join(o.Dir, indexName)
	if err := errors.Join(os.WriteFile(path+".new", text, 0o644), os.Rename(path+".new", path)); err != nil {
		t.Error(err)
	}
}

// meanwhile runs do once, after a look and before the action that is based on it.
func meanwhile(t *testing.T, do func()) {
	testOnlyObserved = func() {
		testOnlyObserved = nil
		do()
	}
	t.Cleanup(func() { testOnlyObserved = nil })
}

// An `openssl ca` that waited at its prompt writes its old index.txt while the next CRL is made. The entries of the
// former CRL are in the next one too.
func TestListWhileIndexIsReplaced(t *testing.T) { // not parallel, because all tests share the hook
	o, d := made(t)
	cert := issue(t, d, o, time.Now())
	old, err := os.ReadFile(filepath.Join(o.Dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := errors.Join(s.Revoke(cert.SerialNumber, "", time.Now()),
		s.WriteCRL(rand.Reader, time.Now())); err != nil {
		t.Fatal(err)
	}
	meanwhile(t, func() { replaceIndex(t, o, old) })
	if err := s.WriteCRL(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(o.Dir, CRLName))
	b, _ := pem.Decode(text)
	list, err := x509.ParseRevocationList(b.Bytes)
	if err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Fatalf("%v: the list has %d entries", err, len(list.RevokedCertificateEntries))
	}
}

// The same happens while a certificate is revoked: either its row is marked as revoked, or there is an error.
func TestRevokeWhileIndexIsReplaced(t *testing.T) { // not parallel, because all tests share the hook
	o, d := made(t)
	other := issue(t, d, o, time.Now())
	old, err := os.ReadFile(filepath.Join(o.Dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, d, o, time.Now())
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	meanwhile(t, func() { replaceIndex(t, o, old) })
	if err := s.Revoke(cert.SerialNumber, "", time.Now()); !errors.Is(err, ErrUnknown) {
		t.Errorf("its row is gone, and Revoke reports success: %v", err)
	}
	e := entryFor(cert)
	meanwhile(t, func() { replaceIndex(t, o, append(old[:len(old):len(old)], formatIndex([]Entry{e})...)) })
	if err := s.Revoke(other.SerialNumber, "", time.Now()); err != nil {
		t.Error(err)
	}
	rows, _ := parseIndex(durable.Read(filepath.Join(o.Dir, indexName), maxIndex).Data)
	if len(rows) != 2 || rows[0].Status != Revoked || rows[1].Status != Valid {
		t.Errorf("%+v", rows)
	}
}

// Between openssl's two renames there is no index.txt. This does not mean that an older generation has no valid
// certificate.
func TestLastLeafWhileIndexIsReplaced(t *testing.T) {
	o, d := made(t)
	cert := issue(t, d, o, time.Now())
	if _, err := nextGeneration(context.Background(), d, o, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, indexName)
	read, looks := false, 0
	undo := durable.TestOnlyBeforeRead(func(op, name string) error {
		switch {
		case name != path:
		case op == "read":
			read = true
		case op == "lstat" && read:
			switch looks++; looks {
			case 1:
				return os.Rename(path, path+".old")
			case 2:
				return os.Rename(path+".old", path)
			}
		}
		return nil
	})
	defer undo()
	seen := Observe(o.Dir, Filter{})
	if looks < 2 || seen.Err != nil || len(seen.Older) != 1 || !seen.Older[0].LastLeaf.Equal(cert.NotAfter) ||
		Prunable(seen, time.Now()) {
		t.Errorf("%d looks: %v, %+v", looks, seen.Err, seen.Older)
	}
}

// Another program's certificate comes into newcerts while a session is open. The signature of the session does not hide
// it.
func TestOrphanBesideASignature(t *testing.T) {
	o, d := made(t)
	o.Memory = &Memory{}
	issue(t, d, o, time.Now())
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tmpl, err := leafTemplate(o, request(t), s.obs.Current.Cert, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(0x1234)
	c, err := create(tmpl, s.obs.Current.Cert, newKey(t).Public(), s.key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, NewCertsDir, "1234.pem"), pki.EncodeCertificate(c.Raw),
		0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Issue(request(t), rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	if seen := o.Memory.Observe(o.Dir, Filter{}); !slices.ContainsFunc(seen.Faults,
		func(f Fault) bool { return f.Kind == FaultOrphan }) {
		t.Errorf("it is not reported: %v", seen.Faults)
	}
}

// Another program counts serials up from a large number, as CA.pl does, and the serial file is far behind. The serials
// in use are skipped in few passes over index.txt.
func TestSerialFarBehind(t *testing.T) {
	dir := t.TempDir()
	first, _ := new(big.Int).SetString("4FFFFFFFFFFFF000", 16)
	const many = 9000
	var text []byte
	for i := range int64(many) {
		n := new(big.Int).Add(first, big.NewInt(i))
		if i == 8000 {
			continue // only its file exists
		}
		text = append(text, "V\t361231000000Z\t\t"+FormatSerial(n)+"\tunknown\t/CN=x\n"...)
	}
	orphan := FormatSerial(new(big.Int).Add(first, big.NewInt(8000))) + ".pem"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, indexName), text, 0o644),
		os.Mkdir(filepath.Join(dir, NewCertsDir), 0o755),
		os.WriteFile(filepath.Join(dir, NewCertsDir, orphan), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	db, err := readDatabase(dir, question{})
	if err != nil || len(db.orphans) != 1 {
		t.Fatal(err, db.orphans)
	}
	passes := 0
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" {
			passes++
		}
		return nil
	})
	defer undo()
	next, err := db.nextSerial(first)
	if want := new(big.Int).Add(first, big.NewInt(many)); err != nil || next.Cmp(want) != 0 || passes > 8 {
		t.Errorf("%X after %d passes, want %X: %v", next, passes, want, err)
	}
}
