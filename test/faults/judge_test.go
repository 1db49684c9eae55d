package faults

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// look is the state of the files below a root.
type look struct {
	files map[string][]byte // content of the regular files, by path from the root
	open  []string          // files with a private key that others may read
	left  []string          // paths of mailcertd's temporary files
}

var momentary = regexp.MustCompile(`(^|/)(\.mailcertd|\..*\.mailcertd|\.[^/]*\.unfinished)(/|$)`)

// old makes the files that an interrupted write left an hour older, because mailcertd leaves young files alone: another
// process may be writing them.
func old(root string, l look) {
	then := time.Now().Add(-time.Hour)
	for _, name := range l.left {
		_ = os.Chtimes(filepath.Join(root, name), then, then)
	}
}

func see(root string) (look, error) {
	l := look{files: map[string][]byte{}}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if momentary.MatchString(rel) {
			l.left = append(l.left, rel)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		l.files[rel] = data
		info, err := e.Info()
		if err == nil && info.Mode()&0o077 != 0 && bytes.Contains(data, []byte("PRIVATE KEY-----")) {
			l.open = append(l.open, fmt.Sprintf("%s %v", rel, info.Mode()))
		}
		return err
	})
	return l, err
}

// pair returns why key and certificate do not belong together, nil if they do.
func (l look) pair() error {
	_, err := tls.X509KeyPair(l.files["etc/mail/certs/host.cert"], l.files["etc/mail/certs/host.key"])
	return err
}

// leaves are the host certificates in all files, parcels included.
func (l look) leaves() (all []*x509.Certificate) {
	for _, data := range l.files {
		for rest := data; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if c, err := x509.ParseCertificate(b.Bytes); err == nil && !c.IsCA {
				all = append(all, c)
			}
		}
	}
	return all
}

// kept returns an error that names the files of a person whose content is now in no file.
func (l look) kept(start look, globs []string) error {
	have := map[[32]byte]bool{}
	for _, data := range l.files {
		have[sha256.Sum256(data)] = true
	}
	var lost []string
	for _, glob := range append([]string{"*note.txt"}, globs...) {
		found := false
		for name, data := range start.files {
			if ok, _ := filepath.Match(glob, name); ok || glob == "*note.txt" && strings.HasSuffix(name, "note.txt") {
				if found = true; !have[sha256.Sum256(data)] {
					lost = append(lost, name)
				}
			}
		}
		if !found {
			return fmt.Errorf("%s: there was no such file", glob)
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("lost: %s", strings.Join(lost, ", "))
	}
	return nil
}

// serials returns an error if a CA below the root has used a serial twice, or has signed a certificate that has no row.
func (l look) serials() error {
	for name, index := range l.files {
		if filepath.Base(name) != "index.txt" {
			continue
		}
		dir := filepath.Dir(name)
		b, _ := pem.Decode(l.files[filepath.Join(dir, "cacert.pem")])
		if b == nil {
			continue
		}
		ca, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return err
		}
		rows := map[string]bool{}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(index), "\n"), "\n") {
			f := strings.Split(line, "\t")
			if line == "" {
				continue
			}
			if len(f) != 6 || rows[f[3]] {
				return fmt.Errorf("%s: a serial twice, or no row: %q", name, line)
			}
			rows[f[3]] = true
		}
		seen := map[string]*x509.Certificate{}
		for _, c := range l.leaves() {
			if !bytes.Equal(c.RawIssuer, ca.RawSubject) {
				continue
			}
			n := fmt.Sprintf("%X", c.SerialNumber)
			if len(n)%2 == 1 {
				n = "0" + n
			}
			if was := seen[n]; was != nil && !was.Equal(c) {
				return fmt.Errorf("%s: serial %s was given twice", dir, n)
			}
			seen[n] = c
			if !rows[n] {
				return fmt.Errorf("%s: %s for %s is in no row", dir, n, c.Subject)
			}
		}
	}
	return nil
}

// during judges what the fault left, before another command runs.
func (s scenario) during(start, now look, e ended, f fault) error {
	var all []error
	say := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	switch {
	case e.hung:
		say("it hung")
	case strings.Contains(e.err, "goroutine ") || strings.Contains(e.err, "panic:"):
		say("it panicked")
	case f.errno != "" && e.code != 0 && !s.stuck &&
		!strings.Contains(strings.ToLower(strings.Join(strings.Fields(e.err+e.out), " ")), errnoText[f.errno]):
		say("it does not say %q", errnoText[f.errno])
	}
	for _, o := range now.open {
		if !contains(start.open, o) {
			say("a key is open: %s", o)
		}
	}
	if err := now.kept(start, s.keeps); err != nil {
		all = append(all, err)
	}
	if !s.broken && !(s.gap && (f.kills() || f.lasting)) {
		if err := now.pair(); err != nil {
			say("the pair served before, and now: %w", err)
		}
	}
	return errors.Join(all...)
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

// finished is the shell text by which openssl's programs judge a root.
const finished = `cd etc/mail/certs
[ "$(openssl x509 -noout -pubkey -in host.cert)" = "$(openssl pkey -pubout -in host.key)" ]
openssl verify -no-CApath -no-CAstore -CAfile cacert.pem host.cert
openssl verify -no-CAfile -no-CAstore -CApath . host.cert
cd ../../..
for d in etc/mail/CA ca/etc/mail/CA; do
	[ -e $d/index.txt ] || continue
	cp -R $d copy; (cd copy; openssl ca -config openssl.cnf -passin pass:secret -gencrl -out crl.pem); rm -r copy
done`

// after judges the root after one ensure.
func (p programs) after(s scenario, root string, start look) error {
	var all []error
	list := filepath.Join(root, "list")
	quiet := p.run(p.armed, root, "MAILCERTD_POINTS="+list, "ensure")
	if done, err := os.ReadFile(list); quiet.code != 0 || err != nil || len(done) > 0 {
		all = append(all, fmt.Errorf("a second ensure does something: %s%s", done, quiet))
	}
	os.Remove(list)
	status := p.run(p.plain, root, "X=", "status", "--json")
	var rep struct {
		Offered bool `json:"starttls_offered"`
	}
	if err := json.Unmarshal([]byte(status.out), &rep); err != nil || !rep.Offered {
		all = append(all, fmt.Errorf("sendmail would offer no STARTTLS: %w, %s", err, status))
	}
	if out, err := p.shell(root, finished, nil); err != nil {
		all = append(all, fmt.Errorf("openssl: %w: %s", err, out))
	}
	now, err := see(root)
	if err != nil {
		return errors.Join(append(all, err)...)
	}
	for _, o := range now.open {
		all = append(all, fmt.Errorf("a key is open: %s", o))
	}
	for _, l := range now.left {
		// The same issue command continues with the first kind of file, and the next change of the state replaces the
		// second.
		if !(s.again && strings.Contains(l, ".unfinished")) && l != "var/db/mailcertd/.state.json.mailcertd" {
			all = append(all, fmt.Errorf("left behind: %s", l))
		}
	}
	return errors.Join(append(all, now.kept(start, s.keeps), now.serials())...)
}

// heals runs what a person does in this scenario and one ensure, and judges the root.
func (p programs) heals(s scenario, root string, env []string, was look) error {
	var all []error
	if s.then != "" {
		if out, err := p.shell(root, s.then, env); err != nil {
			all = append(all, fmt.Errorf("what a person does then: %w\n%s", err, out))
		}
	}
	heal := p.run(p.plain, root, "X=", "ensure")
	if heal.code != 0 {
		all = append(all, fmt.Errorf("ensure: %s", heal))
	}
	if err := p.after(s, root, was); err != nil {
		all = append(all, fmt.Errorf("after ensure: %w\nensure: %s", err, heal))
	}
	return errors.Join(all...)
}
