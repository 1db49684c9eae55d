package soak

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// verdict judges the run at its end.
func (s *soak) verdict(p *post) {
	if !s.ok() {
		return
	}
	for _, h := range []*host{s.a, s.b} {
		// The daemon does at once what becomes due only by the passing of time, such as to clear the inbox of an answer
		// that no member has fetched. This waits for it.
		if err := s.until(20*time.Second, time.Second, func() error {
			if out, _ := h.mailcertd("check"); strings.Contains(out, "ensure would") {
				return fmt.Errorf("%s: the daemon has left work at the end:\n%s", h.short, out)
			}
			return nil
		}); err != nil {
			s.violated("%v", err)
		}
		if out, code := h.mailcertd("ensure"); code != 0 || !strings.Contains(out, "nothing to do") {
			s.violated("%s: ensure at the end is not without work: status %d\n%s", h.short, code, out)
		}
		if err := h.hangups(); err != nil {
			s.violated("%v", err)
		}
		if err := h.flat(); err != nil {
			s.violated("%v", err)
		}
		if strings.Contains(h.Log()+h.d.said(), "PRIVATE KEY") {
			s.violated("%s: a private key in the log", h.short)
		}
		if err := s.until(20*time.Second, time.Second, func() error { // the daemon may be in the middle of a change
			if left := h.leftBehind(); len(left) > 0 {
				return fmt.Errorf("%s: left behind: %v", h.short, left)
			}
			return nil
		}); err != nil {
			s.violated("%v", err)
		}
		if st, err := os.Stat(h.Path(certs + "/host.key")); err != nil || st.Mode().Perm() != 0o600 {
			s.violated("%s: host.key: %v, %v", h.short, st.Mode(), err)
		}
	}
	if err := s.a.database(); err != nil {
		s.violated("%v", err)
	}
	for _, h := range []*host{s.a, s.b} {
		proc := h.d.proc
		h.d.ends(proc)
		h.d.signal("TERM")
		select {
		case <-proc.ended:
		case <-time.After(10 * time.Second):
			s.violated("%s: the daemon does not end within 10 s of SIGTERM", h.short)
		}
	}
}

// leftBehind are temporary files in the certs directory although no change is going on. A new key that waits for its
// certificate does not count: it is kept for a quarter of an hour, because the CA may have signed for it.
func (h *host) leftBehind() []string {
	var st struct {
		Member struct{ At time.Time }
		Pairs  map[string]struct{ At time.Time }
	}
	b, _ := os.ReadFile(h.Path("/var/db/mailcertd/state.json"))
	_ = json.Unmarshal(b, &st) // a state that cannot be read has no such key
	waits := map[string]time.Time{"host.key": st.Member.At}
	for pair, p := range st.Pairs {
		waits[pair+".key"] = p.At
	}
	staging := h.Path(certs + "/.mailcertd")
	left, _ := filepath.Glob(h.Path(certs) + "/.*mailcertd*")
	left = slices.DeleteFunc(left, func(path string) bool { return path == staging })
	staged, err := os.ReadDir(staging)
	for _, e := range staged {
		if !time.Now().Before(waits[e.Name()]) {
			left = append(left, filepath.Join(staging, e.Name()))
		}
	}
	if err == nil && len(staged) == 0 {
		left = append(left, staging)
	}
	return left
}

// hangups checks that no process of sendmail got two HUPs, and that there were no more HUPs than changes. A process
// number may be used again after thousands of others.
func (h *host) hangups() error {
	log := h.Log()
	var pids []string
	for _, m := range hupLine.FindAllStringSubmatch(log, -1) {
		if last := pids[max(0, len(pids)-20):]; slices.Contains(last, m[1]) {
			return fmt.Errorf("%s: sendmail's process %s got two HUPs", h.short, m[1])
		}
		pids = append(pids, m[1])
	}
	changes := 0
	for _, n := range h.s.counts {
		changes += n
	}
	changes += strings.Count(log, ": install ")
	if len(pids) > changes {
		return fmt.Errorf("%s: %d HUPs for %d changes at the most", h.short, len(pids), changes)
	}
	return nil
}

// hungup is how many HUPs mailcertd has sent to sendmail.
func (h *host) hungup() int { return len(hupLine.FindAllString(h.Log(), -1)) }

// flat compares what the daemons held in the second quarter with what they hold in the last.
func (h *host) flat() error {
	if !h.steady {
		return nil
	}
	early, late := h.held(1), h.held(3)
	if early == nil || late == nil {
		return nil // in the short form
	}
	for _, x := range []struct {
		what        string
		early, late int
		most        int
	}{
		{"kB of memory", early.rss, late.rss, early.rss*5/4 + 8<<10},
		{"octets of heap", early.heap, late.heap, early.heap*5/4 + 2<<20},
		{"descriptors", early.fds, late.fds, early.fds + 3},
		{"goroutines", early.goroutine, late.goroutine, early.goroutine + 3},
	} {
		if x.late > x.most {
			return fmt.Errorf("%s: the daemon grows: %d %s in the second quarter, %d in the last", h.short, x.early,
				x.what, x.late)
		}
	}
	return nil
}

// held is the median of each figure of the present process in a quarter, nil where there are no samples.
func (h *host) held(quarter int) *sample {
	if h.d.proc == nil {
		return nil
	}
	median := func(of func(sample) int) int {
		var all []int
		for _, x := range h.d.proc.samples {
			if x.quarter == quarter {
				all = append(all, of(x))
			}
		}
		if len(all) == 0 {
			return -1
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	x := sample{quarter, median(func(x sample) int { return x.rss }), median(func(x sample) int { return x.heap }),
		median(func(x sample) int { return x.fds }), median(func(x sample) int { return x.goroutine })}
	if x.rss < 0 {
		return nil
	}
	return &x
}

// seen is which certificate had each serial, over the whole run.
var seen = map[string]string{}

// serials checks that index.txt is sane and that no two certificates have one serial, now or earlier.
func (h *host) serials() error {
	if h.short != "a" {
		return nil
	}
	index, err := os.ReadFile(filepath.Join(h.Path(caDir), "index.txt"))
	if err != nil {
		return err
	}
	rows := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(index), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 6 || !regexp.MustCompile(`^[VRE]$`).MatchString(f[0]) {
			return fmt.Errorf("index.txt has the row %q", line)
		}
		if rows[f[3]] {
			return fmt.Errorf("index.txt has the serial %s twice:\n%s", f[3], index)
		}
		rows[f[3]] = true
	}
	files, _ := filepath.Glob(h.Path(caDir) + "/newcerts/*")
	for _, path := range files {
		b, err := os.ReadFile(path)
		serial, _, _ := strings.Cut(filepath.Base(path), ".")
		if err != nil || !strings.HasSuffix(path, ".pem") || strings.HasPrefix(filepath.Base(path), ".") {
			return fmt.Errorf("in newcerts: %s: %v", path, err)
		}
		if !rows[serial] {
			return fmt.Errorf("newcerts has %s, index.txt has no row for it:\n%s", path, index)
		}
		// Another text may come before the certificate: openssl writes one, mailcertd does not.
		i := strings.Index(string(b), "-----BEGIN CERTIFICATE-----")
		if i < 0 {
			return fmt.Errorf("%s holds no certificate", path)
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(b[i:]))
		if old, known := seen[serial]; known && old != sum {
			return fmt.Errorf("the serial %s has two certificates", serial)
		}
		seen[serial] = sum
	}
	return nil
}

// database checks that openssl works on the CA and that one of its generations has issued each certificate.
func (h *host) database() error {
	for _, c := range []string{"openssl ca -config openssl.cnf -updatedb",
		"openssl ca -config openssl.cnf -gencrl -out crl.pem",
		"cat cacert.pem gen-*/cacert.pem > /run/all.pem 2>/dev/null; openssl crl -in crl.pem -noout -CAfile " +
			"/run/all.pem",
		"for f in newcerts/*.pem; do openssl verify -CAfile /run/all.pem $f || exit 1; done"} {
		if out, code := h.Run("sh", "-c", "cd "+caDir+" && { "+c+"\n}"); code != 0 {
			return fmt.Errorf("%s: status %d\n%s", c, code, out)
		}
	}
	return h.serials()
}
