package certdir

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"

	"github.com/google/go-cmp/cmp"
)

// lay makes the entries of a directory: "name=target" is a link, "name:kind" a file.
func lay(t *testing.T, dir string, names []string, kinds map[string]string) {
	t.Helper()
	for _, x := range names {
		var err error
		if name, kind, ok := strings.Cut(x, ":"); ok {
			err = os.WriteFile(filepath.Join(dir, name), []byte(kinds[kind]), 0o644)
		} else {
			name, target, _ := strings.Cut(x, "=")
			err = os.Symlink(target, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hashes returns the entries of a directory whose names are those of hash links.
func hashes(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, l := range Observe(dir).Links {
		if l.Node.Kind == durable.Link {
			out = append(out, l.Name+"="+l.Node.Target)
		} else {
			out = append(out, l.Name+":"+l.Node.Kind.String())
		}
	}
	return out
}

// wanted returns the certificates that need links: those of cacert.pem and of every file in trust.
func wanted(d Dir) map[string][]*x509.Certificate {
	want := map[string][]*x509.Certificate{CAName: d.CA.File.Certs}
	for _, e := range d.Trust {
		want[TrustDir+"/"+filepath.Base(e.Node.Path)] = e.File.Certs
	}
	return want
}

func apply(t *testing.T, dir string, changes []LinkChange) {
	t.Helper()
	for _, c := range changes {
		p := filepath.Join(dir, c.Name)
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if c.Target != "" {
			if err := os.Symlink(c.Target, p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The directory contains entries of others, or something at which openssl's search ends. H is the hash of our CA and of
// another CA with the same name, F that of a foreign CA.
func TestLinksAmongOthers(t *testing.T) {
	ours, twin, foreign := caCert(t, "Ours"), caCert(t, "Ours"), caCert(t, "Foreign")
	replace := strings.NewReplacer("H.", pki.HashName(ours.RawSubject, 0)[:9], "F.",
		pki.HashName(foreign.RawSubject, 0)[:9])
	kinds := map[string]string{"ours": bundle(ours), "twin": bundle(twin), "foreign": bundle(foreign), "hello": "hello",
		"empty": "", "der": string(ours.Raw), "cut": bundle(twin)[:200]}
	for _, c := range []struct {
		name, files, want string
		takes             string // the names whose change must be marked as one of a person's entry
	}{
		{"somebody's file is in our place", "H.0:twin", "H.0:file H.1=cacert.pem", ""},
		{"and leaves a gap", "H.1:twin", "H.0=cacert.pem H.1:file", ""},
		{"two of somebody's", "H.0:twin H.1=../twin", "H.0:file H.1=../twin H.2=cacert.pem", ""},
		{"somebody's link to a file in the directory", "corp.pem:foreign F.0=corp.pem",
			"F.0=corp.pem H.0=cacert.pem", ""},
		{"and another CA of our name", "corp.pem:twin H.0=corp.pem", "H.0=corp.pem H.1=cacert.pem", ""},
		{"somebody's, behind a gap", "H.2=../twin H.0=cacert.pem", "H.0=cacert.pem H.1=../twin", "H.2"},
		{"an empty file", "H.0:empty", "H.0=cacert.pem", "H.0"},
		{"DER", "H.0:der", "H.0=cacert.pem", "H.0"},
		{"a truncated file", "H.0:cut H.1=cacert.pem", "H.0=cacert.pem", "H.0"},
		{"a link to what cannot be loaded", "H.0=../hello", "H.0=cacert.pem", "H.0"},
		{"a link to a device", "H.0=/dev/null", "H.0=cacert.pem H.1=/dev/null", "H.0"},
		{"behind ours it may stay", "H.0=cacert.pem H.1=/dev/null", "H.0=cacert.pem H.1=/dev/null", ""},
		{"before ours and somebody's", "H.0=/dev/null H.1=../twin H.2=cacert.pem H.3=..",
			"H.0=cacert.pem H.1=../twin H.2=/dev/null H.3=..", "H.0"},
		{"a link to a FIFO goes, where OpenSSL would wait", "H.0=../fifo", "H.0=cacert.pem", "H.0"},
		{"also behind ours", "H.0=cacert.pem H.1=../fifo H.2=../twin", "H.0=cacert.pem H.1=../twin", "H.1 H.2"},
		{"a link to a directory", "H.0=..", "H.0=cacert.pem H.1=..", "H.0"},
		{"a link to itself", "H.0=H.0", "H.0=cacert.pem", ""},
		{"dangling, somebody's", "F.0=../gone", "H.0=cacert.pem", "F.0"},
		{"a link that loads but has another hash", "H.0=../foreign", "H.0=../foreign H.1=cacert.pem", ""},
		{"the same by another text", "H.0=./cacert.pem", "H.0=./cacert.pem", ""},
		{"a trust file of the same name", "trust/t.pem:twin", "H.0=cacert.pem H.1=trust/t.pem", ""},
		{"a trust file, linked already", "trust/t.pem:twin H.0=trust/t.pem", "H.0=trust/t.pem H.1=cacert.pem", ""},
		{"a trust file of another name", "trust/t.pem:foreign", "F.0=trust/t.pem H.0=cacert.pem", ""},
		{"a trust file that is gone", "F.0=trust/t.pem H.0=cacert.pem", "H.0=cacert.pem", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "certs")
			if err := os.MkdirAll(filepath.Join(dir, TrustDir), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			lay(t, top, []string{"twin:twin", "foreign:foreign", "hello:hello"}, kinds)
			lay(t, dir, append(strings.Fields(replace.Replace(c.files)), "cacert.pem:ours"), kinds)
			d := Observe(dir)
			changes := Links(d.Links, wanted(d))
			var takes []string
			for _, ch := range changes {
				if ch.Foreign {
					takes = append(takes, ch.Name)
				}
				if ch.Why == "" {
					t.Errorf("%s: no reason", ch.Name)
				}
			}
			if diff := cmp.Diff(strings.Fields(replace.Replace(c.takes)), takes); diff != "" &&
				len(takes)+len(c.takes) > 0 {
				t.Errorf("the owner of the entry is wrong: %s", diff)
			}
			apply(t, dir, changes)
			want := strings.Fields(replace.Replace(c.want))
			sort.Strings(want)
			if diff := cmp.Diff(want, hashes(t, dir)); diff != "" {
				t.Error(diff)
			}
			d = Observe(dir)
			if again := Links(d.Links, wanted(d)); len(again) > 0 {
				t.Errorf("the change is not complete: %+v", again)
			}
			if !t.Failed() { // openssl would wait for ever on a FIFO
				verify(t, dir, ours)
			}
		})
	}
}

// Links that openssl rehash has made need no change, and the links that we make are the same.
func TestLinksLikeRehash(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, []string{"cacert.pem:ours", "corp.pem:corp"},
		map[string]string{"ours": bundle(caCert(t, "Ours")), "corp": bundle(caCert(t, "Corp"))})
	rehash := func() []string {
		if out, err := exec.Command("openssl", "rehash", dir).CombinedOutput(); err != nil {
			t.Skipf("openssl rehash: %v %s", err, out)
		}
		return hashes(t, dir)
	}
	theirs := rehash()
	d := Observe(dir)
	if got := Links(d.Links, wanted(d)); len(got) > 0 || len(d.Links) != 2 {
		t.Errorf("%d links: %+v", len(d.Links), got)
	}
	for _, l := range d.Links {
		_ = os.Remove(filepath.Join(dir, l.Name))
	}
	apply(t, dir,
		Links(nil, map[string][]*x509.Certificate{"cacert.pem": d.CA.File.Certs,
			"corp.pem": pki.ReadCertFile(read(t, filepath.Join(dir, "corp.pem"))).Certs}))
	if diff := cmp.Diff(theirs, hashes(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// In any directory one step is enough: then nothing is left to do, openssl finds every wanted file, and no correct link
// and no file of others is lost.
func TestLinksAnyDirectory(t *testing.T) {
	ours, twin, foreign := caCert(t, "Ours"), caCert(t, "Ours"), caCert(t, "Foreign")
	kinds := map[string]string{"ours": bundle(ours), "twin": bundle(twin), "foreign": bundle(foreign),
		"both": bundle(foreign, twin), "hello": "hello"}
	targets := []string{"cacert.pem", "trust/t.pem", "trust/gone.pem", "../twin", "../foreign", "../both", "../hello",
		"../gone", ".", "corp.pem", "/dev/null"}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		top := t.TempDir()
		dir := filepath.Join(top, "certs")
		if err := os.MkdirAll(filepath.Join(dir, TrustDir), 0o755); err != nil {
			t.Fatal(err)
		}
		names := []string{"cacert.pem:ours", "trust/t.pem:both", "corp.pem:twin"}
		for _, c := range []*x509.Certificate{ours, foreign} {
			for n := range 4 {
				name := pki.HashName(c.RawSubject, n)
				switch r.IntN(4) {
				case 0, 1:
					names = append(names, name+"="+targets[r.IntN(len(targets))])
				case 2:
					names = append(names, name+":"+[]string{"twin", "foreign", "hello"}[r.IntN(3)])
				}
			}
		}
		lay(t, top, []string{"twin:twin", "foreign:foreign", "both:both", "hello:hello"}, kinds)
		lay(t, dir, names, kinds)
		before := Observe(dir)
		led := map[string]string{} // by the link's name, where it led before
		for _, l := range before.Links {
			led[l.Name] = l.Node.Located().Resolved
		}
		apply(t, dir, Links(before.Links, wanted(before)))
		after := Observe(dir)
		if again := Links(after.Links, wanted(after)); len(again) > 0 {
			t.Fatalf("seed %d: %v: not done: %+v", seed, names, again)
		}
		reach := map[string]bool{} // what openssl finds: from .0 up to the first entry that it cannot load
		by := map[string]Link{}
		for _, l := range after.Links {
			by[l.Name] = l
		}
		for _, c := range []*x509.Certificate{ours, foreign} {
			for n := 0; by[pki.HashName(c.RawSubject, n)].Loads; n++ {
				l := by[pki.HashName(c.RawSubject, n)]
				reach[fmt.Sprintf("%08x %s", l.Hash, l.Node.Located().Resolved)] = true
			}
		}
		for target, certs := range wanted(after) {
			for _, h := range subjectHashes(certs) {
				if !reach[fmt.Sprintf("%08x %s", h, filepath.Join(dir, target))] {
					t.Fatalf("seed %d: %v: openssl does not find %08x in %s: %v", seed, names, h, target,
						hashes(t, dir))
				}
			}
		}
		for _, l := range before.Links {
			if now := by[l.Name]; l.Right && l.Node.Kind == durable.File && now.Node.Ino != l.Node.Ino {
				t.Fatalf("seed %d: %v: the file %s is gone: %v", seed, names, l.Name, hashes(t, dir))
			}
			theirs := strings.HasPrefix(l.Node.Target, "../") || l.Node.Target == "corp.pem"
			if l.Right && theirs && !reach[fmt.Sprintf("%08x %s", l.Hash, led[l.Name])] {
				t.Fatalf("seed %d: %v: %s is lost: %v", seed, names, l.Node.Target, hashes(t, dir))
			}
		}
	}
}
