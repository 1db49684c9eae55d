package acme

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/test/bed"
)

// TestFirstCertificate: each kind of challenge gets a certificate and leaves nothing behind, and there is one account.
func TestFirstCertificate(t *testing.T) {
	p := start(t, settings{})
	z := p.zone()
	web := t.TempDir()
	var site *http.Server
	script := filepath.Join(t.TempDir(), "dns.sh")
	write(t, script, fmt.Appendf(nil, `
case $1 in
add) curl -s -d "{\"host\":\"$2.\",\"value\":\"$3\"}" %[1]s/set-txt ;;
remove) curl -s -d "{\"host\":\"$2.\"}" %[1]s/clear-txt ;;
esac && echo "$1 $2" >> %[2]s
`, p.DNS(), script+".log"))
	for _, way := range []struct {
		name string
		set  func(o *acme.Options)
		also func(t *testing.T)
	}{
		{"http", func(*acme.Options) {}, func(t *testing.T) {
			if c, err := net.Dial("tcp", bed.Local(p.HTTPPort)); err == nil {
				_ = c.Close()
				t.Error("it still listens")
			}
		}},
		{"webroot", func(o *acme.Options) {
			o.Listener.Webroot = web
			ln, err := net.Listen("tcp", bed.Local(p.HTTPPort))
			if err != nil {
				t.Fatal(err)
			}
			site = &http.Server{Handler: http.FileServer(http.Dir(web)), ReadHeaderTimeout: time.Minute}
			go func() { _ = site.Serve(ln) }()
		}, func(t *testing.T) {
			defer func() { _ = site.Close() }()
			left, err := os.ReadDir(filepath.Join(web, ".well-known/acme-challenge"))
			if err != nil || len(left) != 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		}},
		{"dns", func(o *acme.Options) { o.Challenge, o.DNS = acme.DNS01, z }, func(t *testing.T) {
			if z.adds == 0 || len(z.has) != 0 {
				t.Errorf("%d records were added, left over: %v", z.adds, z.has)
			}
		}},
		{"command", func(o *acme.Options) { o.Challenge, o.Command = acme.Command, []string{"sh", script} },
			func(t *testing.T) {
				log, err := os.ReadFile(script + ".log")
				left, adds := map[string]int{}, 0 // Pebble checks some proofs again, at random
				for line := range strings.Lines(string(log)) {
					switch verb, name, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
					case "add":
						left[name]++
						adds++
					case "remove":
						left[name]--
					}
				}
				maps.DeleteFunc(left, func(_ string, n int) bool { return n == 0 })
				if err != nil || adds < 2 || len(left) != 0 {
					t.Errorf("%v, left over: %v\n%s", err, left, log)
				}
			}},
	} {
		t.Run(way.name, func(t *testing.T) {
			store := newMemory()
			o := p.options(store)
			var steps []string
			o.Progress = func(s string) { steps = append(steps, s) }
			way.set(&o)
			r := request(t, way.name+".example.test", "mx."+way.name+".example.test")
			reply := obtain(t, o, r)
			if names := reply.Leaf.DNSNames; len(names) != 2 || len(reply.CAs) != 1 {
				t.Errorf("names %v, %d CAs", names, len(reply.CAs))
			}
			way.also(t)
			if _, has := store.files["traces.json"]; has {
				t.Errorf("what was removed is still noted: %s", store.files["traces.json"])
			}
			if len(steps) < 5 {
				t.Errorf("steps: %q", steps)
			}
			// Before the certificate is reported as kept (Taken), asking again gives the same one.
			before := p.Orders()
			if again := obtain(t, o, r); !again.Leaf.Equal(reply.Leaf) || p.Orders() != before {
				t.Errorf("%d orders, want %d", p.Orders(), before)
			}
			if err := client(t, o).Taken(r); err != nil {
				t.Fatal(err)
			}
			way.set(&o) // the webroot gets a web server again
			if again := obtain(t, o, r); again.Leaf.Equal(reply.Leaf) || p.Orders() != before+1 {
				t.Errorf("%d orders, want %d", p.Orders(), before+1)
			}
			way.also(t)
		})
	}
	if n := p.Accounts(); n != 4 {
		t.Errorf("%d accounts of 4 stores", n)
	}
}

// TestPersistentRecord: dns-persist-01 reports the record that is missing, and once the record exists nothing else is
// needed.
func TestPersistentRecord(t *testing.T) {
	p := start(t, settings{conf: map[string]any{"caaIdentities": []string{"pebble.test"}}})
	z := p.zone()
	o := p.options(newMemory())
	o.Challenge, o.Lookup = acme.DNSPersist, z.LookupTXT
	r := request(t, "mx.example.test")
	no := refused(t, o, r, issuer.KindChallenge, false, "_validation-persist.mx.example.test. IN TXT ", "accounturi=")
	_, value, _ := strings.Cut(no.Reason, "IN TXT ")
	if err := z.Add(context.Background(), "_validation-persist.mx.example.test", strings.Trim(value, `"`)); err != nil {
		t.Fatal(err)
	}
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders, want the one that was open", p.Orders())
	}
}

// TestValidationFails: the error says for each name what the CA saw, and asking again places a new order.
func TestValidationFails(t *testing.T) {
	p := start(t, settings{})
	for name, set := range map[string]struct {
		set  func(o *acme.Options)
		says []string
	}{
		"http": {func(o *acme.Options) { o.Listener.Listen = bed.Local(bed.Port(t)) },
			[]string{"http-01 of ", "connection refused", "(connection)", "mx.http.example.test"}},
		"dns": {func(o *acme.Options) { o.Challenge, o.DNS = acme.DNS01, nowhere{} },
			[]string{"dns-01 of ", "No TXT records found", "(unauthorized)", "mx.dns.example.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			store := newMemory()
			o := p.options(store)
			set.set(&o)
			before := p.Orders()
			r := request(t, name+".example.test", "mx."+name+".example.test")
			refused(t, o, r, issuer.KindChallenge, false, set.says...)
			refused(t, o, r, issuer.KindChallenge, false, set.says...)
			if n := p.Orders() - before; n != 2 {
				t.Errorf("%d orders, want 2", n)
			}
			for f, data := range store.files {
				if strings.HasSuffix(f, ".orders") && strings.Contains(string(data), "url") {
					t.Errorf("%s: %s", f, data)
				}
			}
		})
	}
}

// nowhere is a DNS that accepts records which nobody can see.
type nowhere struct{}

func (nowhere) Add(context.Context, string, string) error    { return nil }
func (nowhere) Remove(context.Context, string, string) error { return nil }
func (nowhere) Wait(context.Context, string, string) error   { return nil }

// TestPrepareFails: what prevents a challenge is reported, costs no order, and the open order is continued.
func TestPrepareFails(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	taken, err := net.Listen("tcp", bed.Local(p.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, o, r, issuer.KindChallenge, false, "cannot listen on "+bed.Local(p.HTTPPort), "listens there", "webroot",
		fmt.Sprintf("(process %d)", os.Getpid()))
	_ = taken.Close()
	o.Listener.Webroot = filepath.Join(t.TempDir(), "none")
	refused(t, o, r, issuer.KindChallenge, false, "the webroot", "none: no such file")
	o.Challenge, o.Command = acme.Command, []string{"sh", "-c", "echo no such zone >&2; exit 3"}
	refused(t, o, r, issuer.KindChallenge, false, "no such zone", "exit status 3")
	o = p.options(o.Store)
	obtain(t, o, r)
	if p.Orders() != 1 {
		t.Errorf("%d orders, want 1", p.Orders())
	}
	// The DNS can never prove an IP address.
	o.Challenge, o.DNS = acme.DNS01, p.zone()
	refused(t, o, request(t, "other.example.test", "127.0.0.1"), issuer.KindChallenge, true, "does not offer",
		"http-01")
}

// TestWebrootLink: no file is written through a link that leaves the webroot.
func TestWebrootLink(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	outside := t.TempDir()
	o.Listener.Webroot = t.TempDir()
	if err := os.Symlink(outside, filepath.Join(o.Listener.Webroot, ".well-known")); err != nil {
		t.Fatal(err)
	}
	refused(t, o, request(t, "mx.example.test"), issuer.KindChallenge, false, "the webroot")
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
}

// TestWebrootUmask: the web server, which is not root, can read the answer whatever the umask of mailcertd is.
func TestWebrootUmask(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	web := t.TempDir()
	if err := os.Chmod(web, 0o755); err != nil {
		t.Fatal(err)
	}
	o.Listener.Webroot = web
	ln, err := net.Listen("tcp", bed.Local(p.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(web))
	site := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			for dir := r.URL.Path; dir != "/"; dir = path.Dir(dir) {
				if info, err := os.Stat(filepath.Join(web, dir)); err != nil || info.Mode()&0o004 == 0 ||
					info.IsDir() && info.Mode()&0o001 == 0 {
					t.Errorf("%s: %v, %v", dir, info, err)
				}
			}
			files.ServeHTTP(w, r)
		})}
	go func() { _ = site.Serve(ln) }()
	defer func() { _ = site.Close() }()
	defer syscall.Umask(syscall.Umask(0o077))
	obtain(t, o, request(t, "mx.example.test"))
}

// TestListenerAnswersOnlyItsTokens: every other request gets 404 without a body.
func TestListenerAnswersOnlyItsTokens(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	var got []string
	o.Progress = func(step string) {
		if !strings.HasPrefix(step, "the CA validates") {
			return
		}
		for _, path := range []string{"/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x",
			"/favicon.ico", "/.well-known/acme-challenge/../x"} {
			resp, err := http.Get("http://" + bed.Local(p.HTTPPort) + path)
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			body := make([]byte, 10)
			n, _ := resp.Body.Read(body)
			_ = resp.Body.Close()
			got = append(got, fmt.Sprintf("%d %d", resp.StatusCode, n))
		}
	}
	// Connections that send nothing must not keep the CA out, and no connection may outlive the order.
	var silent []net.Conn
	progress := o.Progress
	o.Progress = func(step string) {
		if progress(step); strings.HasPrefix(step, "the CA validates") {
			for range 20 {
				if c, err := net.Dial("tcp", bed.Local(p.HTTPPort)); err == nil {
					silent = append(silent, c)
				}
			}
		}
	}
	obtain(t, o, request(t, "mx.example.test"))
	if want := slices.Repeat([]string{"404 0"}, 5); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("a connection outlives the order: %v", err)
		}
	}
	if len(silent) == 0 {
		t.Error("nobody connected")
	}
}
