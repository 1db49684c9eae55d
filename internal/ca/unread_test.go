package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// unread makes every read of files whose paths end in end fail, until the test ends or undo is called.
func unread(t *testing.T, end string) (undo func()) {
	u := durable.TestOnlyBeforeRead(func(_, path string) error {
		if strings.HasSuffix(path, end) {
			return syscall.EIO
		}
		return nil
	})
	t.Cleanup(u)
	return u
}

// The list of members is read again before a report of a member is written into it. A session that could not read the
// list would otherwise write an empty one.
func TestHearDoesNotForgetTheOthers(t *testing.T) {
	o, d := made(t)
	for _, n := range []string{"a.example.org", "b.example.org"} {
		if err := Members(context.Background(), d, o.Dir, Enrol(n, nil, start)); err != nil {
			t.Fatal(err)
		}
	}
	undo := unread(t, membersName)
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	heard := map[string]Heard{"a.example.org": {At: start}}
	if err := s.Hear(heard); !errors.Is(err, syscall.EIO) {
		t.Errorf("the report was written although the list cannot be read: %v", err)
	}
	if _, _, err := s.Sign(Ask{ByHand: true, Name: "c.example.org", Request: pki.Request{Public: newKey(t).Public()},
		Days: 9}, rand.Reader, start); !errors.Is(err, syscall.EIO) {
		t.Errorf("it was signed although the names of the other members are not known: %v", err)
	}
	undo()
	if err := s.Hear(heard); err != nil {
		t.Fatal(err)
	}
	if all, err := readMembers(o.Dir); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

// index.txt is missing, and the file that `openssl ca` left cannot be read. index.txt is not made again from newcerts,
// because revocations are not recorded there.
func TestUnreadOldIndex(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, start)
	index := filepath.Join(o.Dir, indexName)
	if err := os.Rename(index, index+".old"); err != nil {
		t.Fatal(err)
	}
	undo := unread(t, indexName+".old")
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	undo()
	if _, err := os.Stat(index); err == nil {
		t.Fatal("index.txt was made")
	}
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	if got := Observe(o.Dir, Filter{}).index(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// A link that cannot be followed now stays a link, and its target does not change.
func TestUnreadLinkStays(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, start)
	index, real := filepath.Join(o.Dir, indexName), filepath.Join(t.TempDir(), "index")
	if err := errors.Join(os.Rename(index, real), os.Symlink(real, index)); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"stat", "readlink", "resolve"} {
		undo := durable.TestOnlyBeforeRead(func(o, path string) error {
			if o == op && path == index {
				return syscall.EIO
			}
			return nil
		})
		err := put(d, index, []byte("x\n"), publicMode)
		undo()
		if n := durable.Look(index); !errors.Is(err, syscall.EIO) || n.Kind != durable.Link {
			t.Errorf("%s: %v, it is a %s", op, err, n.Kind)
		}
	}
}

// The old generation keeps its CRL. If the CRL cannot be read, the generations are not changed.
func TestUnreadCRLAtRollover(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, time.Now())
	withCRL(t, d, o, "keyCompromise", 1)
	if _, err := StartNext(context.Background(), d, o, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	list, _ := os.ReadFile(filepath.Join(o.Dir, CRLName))
	undo := unread(t, "CA/"+CRLName)
	_, err := Promote(context.Background(), d, o)
	undo()
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if now, _ := os.ReadFile(filepath.Join(o.Dir, CRLName)); string(now) != string(list) || len(list) == 0 {
		t.Error("the CRL has changed")
	}
	if _, err := Promote(context.Background(), d, o); err != nil {
		t.Fatal(err)
	}
	if old, _ := os.ReadFile(filepath.Join(o.Dir, "gen-1", CRLName)); string(old) != string(list) {
		t.Error("the old generation has lost its CRL")
	}
}

// A person who names a certificate by its host gets the system's error if a certificate could not be read, and not the
// answer that there is none. A part of the CA that cannot be read is reported as such.
func TestUnreadIsTold(t *testing.T) {
	o, d := made(t)
	c := issue(t, d, o, start)
	for _, end := range []string{"/" + indexName, "/" + keyName, "/" + serialName, "/" + certName} {
		undo := unread(t, end)
		got := Observe(o.Dir, Filter{}).Unread()
		undo()
		if !errors.Is(got, syscall.EIO) {
			t.Errorf("%s: %v", end, got)
		}
	}
	obs := Observe(o.Dir, Filter{})
	if err := obs.Unread(); err != nil {
		t.Error(err)
	}
	undo := unread(t, FormatSerial(c.SerialNumber)+".pem")
	_, err := Which(obs, "smtp.example.org", start)
	_, perr := Preview(obs, o, Ask{ByHand: true, Name: "mail.example.org",
		Request: pki.Request{Public: newKey(t).Public()}, Days: 9}, start)
	all, err2 := list(obs, start)
	unlisted := errors.Join(err2, all[0].Unread)
	seen := Observe(o.Dir, Filter{Name: "mail.example.org"}).IssuedErr
	undo()
	for what, err := range map[string]error{"Which": err, "Preview": perr, "List": unlisted, "Observe": seen} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Any content of the database's files, even an empty one, is read without a panic, in the ways of all verbs.
func TestDatabaseOfAnything(t *testing.T) {
	inputs := []string{"", "\n", " ", "\x00", "null", "[]", "{}", "0", "-1", "zz", "\t\t\t\t\t\n", "V\t\t\t\t\t\n",
		"R\t1\t,\t\t\t/\n", "=", "unique_subject", "=no",
		"-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n",
		"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", strings.Repeat("9", 5000)}
	public := newKey(t).Public()
	for _, name := range []string{keyName, certName, serialName, indexName, attrName, crlNumName, CRLName, confName,
		membersName, NewCertsDir + "/01.pem", indexName + ".old"} {
		o, d := made(t)
		all := inputs
		if name == certName { // a certificate that cannot be read is read again several times
			all = inputs[:1]
		}
		for _, in := range all {
			if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(in), 0o600); err != nil {
				t.Fatal(err)
			}
			obs := Observe(o.Dir, Filter{Name: "mail.example.org"})
			_, _ = list(obs, start)
			_, _, _ = Overview(obs, start, 9)
			_ = Ending(obs, start, start, start.AddDate(90, 0, 0), func(Listed) {})
			_, _ = Which(obs, in, start)
			_, _ = Preview(obs, o, Ask{ByHand: true, Name: "mail.example.org", Request: pki.Request{Public: public},
				Days: 9}, start)
			_ = Bundle(obs, start)
			_ = obs.Unread()
			_, _ = Reconcile(context.Background(), d, o.Dir, nil)
			_ = WriteCRL(context.Background(), d, o, rand.Reader, start)
		}
	}
}
