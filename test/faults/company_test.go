package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	crowd = flag.Int("crowd", 30, "processes of TestCompany that run at a time")
	turns = flag.Int("turns", 1, "commands that each process of TestCompany runs")
)

// TestCompany runs many mailcertd at the same time, beside `openssl ca`, an editor that saves both by renaming and in
// place, and a person who removes the directory. Each certificate that was given out must have a serial of its own and
// a row in index.txt, no key may ever be readable by others, no process may hang or panic, and one ensure must make
// everything right.
func TestCompany(t *testing.T) {
	p := build(t)
	s := scenario{name: "company", before: "$m ensure", again: true}
	root := p.start(t, s)
	for _, dir := range []string{"got", "hand"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	was, err := see(root)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var verbs, others sync.WaitGroup
	for i := range *crowd {
		verbs.Go(func() {
			rnd := rand.New(rand.NewPCG(4, uint64(i)))
			for n := range *turns {
				name := fmt.Sprintf("h%d-%d", i, n)
				args := [][]string{{"ensure"}, {"renew"}, {"check"},
					{"issue", "--yes", name + ".example.test", "-o",
						filepath.Join(root, "got", name+".pem")}}[(i+rnd.IntN(2))%4]
				e := p.run(p.plain, root, "X=", args...)
				if e.hung || e.code < 0 || strings.Contains(e.err, "goroutine ") {
					t.Errorf("%s: %s", args, e)
				}
				if args[0] == "issue" && e.code == 0 {
					if _, err := os.Stat(args[len(args)-1]); err != nil {
						t.Errorf("%s: status 0, and %v", args, err)
					}
				}
			}
		})
	}
	beside := func(every time.Duration, do func(n int)) {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(every):
					do(n)
				}
			}
		})
	}
	certs := filepath.Join(root, "etc/mail/certs")
	beside(50*time.Millisecond, func(n int) { // keeps a copy of each certificate that it gets
		_, _ = p.shell(root, fmt.Sprintf(`cd etc/mail/CA; f=../../../hand/%d; openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=hand%d.example.test -keyout /dev/null -out $f.csr
openssl ca -batch -config openssl.cnf -notext -in $f.csr -out $f.pem`, n, n), nil)
	})
	beside(70*time.Millisecond, func(n int) {
		name := filepath.Join(certs, []string{"host.cert", "cacert.pem", "dh.param"}[n%3])
		data, err := os.ReadFile(name)
		if err != nil {
			return
		}
		if n%2 == 0 { // as vi saves
			_ = os.WriteFile(name+"~", data, 0o644)
			_ = os.Rename(name+"~", name)
		} else {
			_ = os.WriteFile(name, data, 0o644)
		}
	})
	beside(700*time.Millisecond, func(int) { _ = exec.Command("rm", "-rf", certs).Run() })
	beside(20*time.Millisecond, func(int) {
		for _, dir := range []string{"etc/mail", "var/db/mailcertd"} {
			if now, err := see(filepath.Join(root, dir)); err == nil && len(now.open) > 0 {
				t.Errorf("a key is open: %v", now.open)
			}
		}
	})
	verbs.Wait()
	close(stop)
	others.Wait()
	now, err := see(root)
	if err != nil {
		t.Fatal(err)
	}
	old(root, now)
	if e := p.run(p.plain, root, "X=", "ensure"); e.code != 0 {
		t.Errorf("ensure: %s", e)
	}
	if err := os.WriteFile(filepath.Join(certs, "note.txt"), []byte(note), 0o644); err != nil { // rm has removed it
		t.Error(err)
	}
	if err := p.after(s, root, was); err != nil {
		t.Error(err)
	}
	got, _ := filepath.Glob(filepath.Join(root, "*/*.pem"))
	t.Logf("%d certificates were given out", len(got))
}

// A person copies a bought pair into place while the daemon runs, as slowly as scp over a bad line: every byte must
// arrive, and the pair must be served.
func TestSlowCopy(t *testing.T) {
	p := build(t)
	s := scenario{name: "slow copy", before: "$m ensure;" + buy}
	root := p.start(t, s)
	cmd := exec.Command(p.plain, "--root", root, "run")
	cmd.Env = p.env(root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for _, name := range []string{"host.cert", "host.key", "cacert.pem"} {
		data, err := os.ReadFile(filepath.Join(root, "bought", name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(root, "etc/mail/certs", name), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 { // a fifth of a second is longer than the daemon collects events
			if _, err := f.Write(data[len(data)*i/4 : len(data)*(i+1)/4]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		f.Close()
	}
	if out, err := p.shell(root, owned, nil); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if e := p.run(p.plain, root, "X=", "ensure"); e.code != 0 {
		t.Errorf("%s", e)
	}
	if out, err := p.shell(root, owned+pairs, nil); err != nil {
		t.Errorf("after ensure: %v: %s", err, out)
	}
}
